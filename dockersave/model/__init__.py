"""The data model: references, platforms, manifests, images, options. Pure."""
