"""What makes a report credible: checklists, a credibility page, data scorecards, cards of readers and renderers.

Each is formed from our own tables and the study file; what no table holds is named as blank. Estimates nothing.
"""
