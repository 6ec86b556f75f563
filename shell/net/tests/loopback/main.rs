//! Both roles of a call against each other, and each against a bare HTTP/2 stack, over real sockets.

mod calls;
mod connections;
mod frames;
mod server;
