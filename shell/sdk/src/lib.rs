//! Secure Low-Latency Interactive Messaging: services, applications and sessions.
