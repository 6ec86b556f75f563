//! The SPIFFE agent of the tests as a process, for tests in other languages.
//!
//! `spiffe_agent SOCKET TRUST_DOMAIN TOKEN_SECONDS ID...` gives these identities to everybody who reaches the socket.
//! It obeys lines on its standard input (the arms below), answers each with `done`, and ends with the input.
#![allow(clippy::print_stdout, reason = "standard output is the interface")]

use std::io::BufRead as _;
use std::path::Path;
use std::time::Duration;

use slim_spiffe_agent::Agent;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(worker_threads = 1)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, trust_domain, seconds, ids @ ..] = &arguments[..] else {
        return Err("usage: spiffe_agent SOCKET TRUST_DOMAIN TOKEN_SECONDS ID...".into());
    };
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let agent = Agent::start(Path::new(socket), trust_domain, &ids)?;
    agent.set_jwt_life(Duration::from_secs(seconds.parse()?));
    println!("ready");
    tokio::task::block_in_place(|| obey(&agent))
}

fn obey(agent: &Agent) -> Result<(), Failure> {
    for line in std::io::stdin().lock().lines() {
        match line?.as_str() {
            "rotate-jwt-key" => agent.rotate_jwt_key(),
            "forget-old-jwt-keys" => agent.forget_old_jwt_keys(),
            "renew-certificates" => agent.renew_certificates(),
            "asked" => {
                for asked in agent.asked() {
                    println!("{} {:?} {}", asked.method, asked.id, asked.audiences.join(" "));
                }
            }
            other => return Err(format!("unknown command {other:?}").into()),
        }
        println!("done");
    }
    Ok(())
}
