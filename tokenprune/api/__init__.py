"""For code of your own: a pruned model in five lines, curves of any loader, ONNX. `tokenprune` offers all of it."""
