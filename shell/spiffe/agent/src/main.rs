//! The test agent as a process, for tests in other languages: obeys lines on its standard input, ends with it, and
//! tells on its standard output who asked for what.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use slim_spiffe_agent::Agent;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

/// A SPIFFE agent for tests.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long)]
    socket: PathBuf,
    /// Whose identities it gives.
    #[arg(long)]
    trust_domain: String,
    /// An identity that it gives to everybody; may be repeated.
    #[arg(long = "id")]
    ids: Vec<String>,
    /// How long tokens live, in seconds.
    #[arg(long, default_value_t = 300)]
    jwt_life: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let ids: Vec<&str> = args.ids.iter().map(String::as_str).collect();
    let agent = Agent::start(&args.socket, &args.trust_domain, &ids)
        .with_context(|| args.socket.display().to_string())?;
    agent.set_jwt_life(Duration::from_secs(args.jwt_life));
    let mut output = tokio::io::stdout();
    say(&mut output, "ready").await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match line.as_str() {
            "rotate-jwt-key" => agent.rotate_jwt_key(),
            "forget-old-jwt-keys" => agent.forget_old_jwt_keys(),
            "renew-certificates" => agent.renew_certificates(),
            "asked" => {
                for asked in agent.asked() {
                    let line = format!("{} {:?} {}", asked.method, asked.id, asked.audiences.join(" "));
                    say(&mut output, &line).await?;
                }
            }
            other => anyhow::bail!("unknown command {other:?}"),
        }
        say(&mut output, "done").await?;
    }
    Ok(())
}

async fn say(output: &mut tokio::io::Stdout, line: &str) -> std::io::Result<()> {
    output.write_all(line.as_bytes()).await?;
    output.write_all(b"\n").await?;
    output.flush().await
}
