//! Bytes in and out: TCP, gRPC over HTTP/2, dial and accept.
