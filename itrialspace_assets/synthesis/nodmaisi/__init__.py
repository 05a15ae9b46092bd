"""The NodMAISI renderer: a CT from a label map by MAISI's rectified-flow networks (autoencoder, UNet, ControlNet).

``prepare`` brings a map to a legal grid and its CT back, ``weights`` finds and checks the files, ``networks`` builds
MONAI's classes from them, ``sample`` draws an image, ``render`` puts them together. torch is imported inside functions
only, so that a machine without it can run everything else.
"""
