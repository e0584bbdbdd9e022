"""T1 to T9: the claims of the theory laboratory, with what shows them. Rules were fixed before the results."""
