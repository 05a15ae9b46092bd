"""Readers that read elsewhere: tables of answers or marks that somebody made, and functions of a user's own module.

May not change what they are given: what a table or a function does not say is a failure or no score, never a guess.
"""
