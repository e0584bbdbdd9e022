"""The built-in pruners: one file per method, named as the method is; its first line is what `ls pruners` says."""
