"""Trials and their cases as people look through them: how many came through, balance, contact sheets. Plans nothing."""
