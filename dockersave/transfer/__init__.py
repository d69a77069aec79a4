"""The transfer of blobs: who fetches which bytes, and how."""
