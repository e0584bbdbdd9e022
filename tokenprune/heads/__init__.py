"""Convex heads on a frozen backbone's tokens, solved and certified (Sahiner et al. 2022).

names.py: what can be asked for, known without torch; asked.py: what is, checked. features.py: tokens, computed once.
forms.py: what each head computes, a linear map of its tokens and gates. factored.py and proximal.py: two solvers of one
convex problem (problem.py), with its certificate. two_layer.py: the ordinary heads beside them. clusters.py: which
tokens an attention head takes together.
"""
