"""Which volumes and pictures a nodule or a case has, and their voxels. Draws nothing; serves no address."""
