"""What is talked about: references, platforms, manifests, images, options. Pure."""
