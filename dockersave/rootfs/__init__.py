"""From layers to one file system, by their headers alone; contents are never touched."""
