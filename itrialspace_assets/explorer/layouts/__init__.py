"""What the nodule map draws and searches: features, layouts, edges, neighbours, and points of slices. No web here."""
