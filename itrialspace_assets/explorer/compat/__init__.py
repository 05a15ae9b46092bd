"""The endpoints of the original's two apps, NoduleMap and Retriever, with their keys and without their faults."""
