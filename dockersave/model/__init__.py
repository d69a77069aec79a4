"""The data model: references, platforms, manifests, images, options. Nothing is read or written."""
