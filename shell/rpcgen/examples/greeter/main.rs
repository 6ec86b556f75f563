//! The example of docs/stubs.md: a server and a client made of generated stubs, in one process and without a node.
#![allow(clippy::print_stdout, reason = "an example")]

mod stubs;

use slim::rpc::typed::{RequestStream, ResponseSink};
use slim::rpc::{CallOptions, Channel, Code, Context, Server, Status};
use slim::{App, Direction, Identity, Rng, Service, os_seed};
use stubs::demo::greeter_rpc::{Greeter, GreeterClient, add_greeter_to_server};
use stubs::demo::{Greeting, Hello};

struct Polite;

impl Greeter for Polite {
    async fn greet(&self, hello: Hello, _: Context) -> Result<Greeting, Status> {
        if hello.name.is_empty() {
            return Err(Status::new(Code::InvalidArgument, "nobody to greet"));
        }
        let text = format!("Hello, {}!", hello.name);
        Ok(Greeting { text })
    }

    async fn greet_all(
        &self,
        mut hellos: RequestStream<Hello>,
        context: Context,
        greetings: ResponseSink<Greeting>,
    ) -> Result<(), Status> {
        while let Some(hello) = hellos.next().await {
            greetings
                .send(&self.greet(hello?, context.clone()).await?)
                .await?;
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = Service::new()?;
    let (alice, bob) = (
        app(&service, "org/demo/alice").await?,
        app(&service, "org/demo/bob").await?,
    );
    let mut server = Server::new(&bob);
    add_greeter_to_server(&mut server, Polite);
    tokio::spawn(server.serve(None));

    let greeter = GreeterClient::new(Channel::new(&alice, "org/demo/bob".parse()?));
    let ada = Hello { name: "Ada".into() };
    let greeting = greeter.greet(&ada, CallOptions::default()).await?;
    println!("{}", greeting.text);

    let (hellos, mut greetings) = greeter.greet_all(CallOptions::default()).await?;
    for name in ["Grace", "Barbara"] {
        hellos.send(&Hello { name: name.into() }).await?;
    }
    hellos.finish();
    while let Some(greeting) = greetings.next().await {
        println!("{}", greeting?.text);
    }
    Ok(())
}

async fn app(service: &Service, name: &str) -> Result<App, Box<dyn std::error::Error>> {
    let secret = "a secret that both share, 32 bytes or more";
    let identity = Identity::shared_secret(name, secret, &mut Rng::from_seed(os_seed()))?;
    let verifier = identity.verifier();
    Ok(service
        .create_app(name.parse()?, identity, verifier, Direction::Bidirectional)
        .await?)
}
