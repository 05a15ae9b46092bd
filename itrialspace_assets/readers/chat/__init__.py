"""Language models that look at pictures, read through the classes of transformers.

A model lies in a folder and is never downloaded. An option's score is the model's own log-probability of it.
"""
