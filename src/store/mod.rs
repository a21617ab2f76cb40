//! Blobs by digest on disk: an OCI image layout.
