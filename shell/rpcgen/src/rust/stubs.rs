//! The Rust stubs of one service: clients for one server and for a group, and a trait for servers.
//!
//! They stand in a module of their own beside the messages. Everything generic is in `slim::rpc::typed`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use prost_build::{Comments, Method, Module, Service, ServiceGenerator};
use prost_types::DescriptorProto;

use crate::{Error, Sources};

/// Names that both clients have already.
const TAKEN: [&str; 1] = ["new"];

/// Types of messages that prost maps to Rust's own; they have the same name in every module.
const PRIMITIVES: [&str; 8] = ["()", "bool", "f32", "f64", "i32", "i64", "u32", "u64"];

/// Where the generator leaves what it cannot do: prost-build lets it return nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conflicts(Rc<RefCell<Option<Error>>>);

impl Conflicts {
    /// The first one, if there was any.
    pub(crate) fn first(&self) -> Result<(), Error> {
        self.0.take().map_or(Ok(()), Err)
    }
}

/// Writes the module of each service.
#[derive(Debug)]
pub(crate) struct Stubs {
    /// The modules of each package and whose they are: of messages with something in them, and of services so far.
    modules: BTreeMap<String, BTreeMap<String, String>>,
    conflicts: Conflicts,
}

impl Stubs {
    pub(crate) fn new(sources: &Sources, conflicts: Conflicts) -> Self {
        let mut modules: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for file in sources.generated() {
            let package = modules.entry(file.package().to_owned()).or_default();
            let nesting = file.message_type.iter().filter(|message| has_module(message));
            package.extend(nesting.map(|message| {
                (
                    snake(message.name()),
                    format!("the contents of {}", message.name()),
                )
            }));
        }
        Self { modules, conflicts }
    }

    fn conflict(&self, service: &Service, first: &str, second: &str, name: &str) {
        let mut slot = self.conflicts.0.borrow_mut();
        slot.get_or_insert_with(|| Error::SameName {
            service: full_name(service),
            first: first.to_owned(),
            second: second.to_owned(),
            name: name.to_owned(),
            language: "Rust",
        });
    }

    fn check(&mut self, service: &Service) {
        let module = module_name(service);
        let stubs = format!("the stubs of {}", service.proto_name);
        let taken = self.modules.entry(service.package.clone()).or_default();
        if let Some(other) = taken.insert(module.clone(), stubs.clone()) {
            self.conflict(service, &other, &stubs, &module);
        }
        let mut methods: BTreeMap<String, &str> = BTreeMap::new();
        for method in &service.methods {
            if let Some(other) = methods.insert(method_name(method), &method.proto_name) {
                self.conflict(service, other, &method.proto_name, &method_name(method));
            }
        }
    }
}

/// Whether prost makes a module for what is inside of this message.
fn has_module(message: &DescriptorProto) -> bool {
    let is_map =
        |nested: &DescriptorProto| nested.options.as_ref().is_some_and(|options| options.map_entry());
    // An optional field of proto3 has a oneof of its own, which prost does not show.
    let shown: BTreeSet<i32> = message
        .field
        .iter()
        .filter(|field| !field.proto3_optional())
        .filter_map(|field| field.oneof_index)
        .collect();
    !message.enum_type.is_empty()
        || !shown.is_empty()
        || message.nested_type.iter().any(|nested| !is_map(nested))
}

impl ServiceGenerator for Stubs {
    fn generate(&mut self, service: Service, buffer: &mut String) {
        self.check(&service);
        let name = full_name(&service);
        let mut out = format!(
            "/// Stubs of the service `{name}`.\npub mod {} {{\n",
            module_name(&service)
        );
        out += &format!("/// The service's name in calls.\npub const SERVICE: &str = \"{name}\";\n");
        client(&service, &mut out);
        group_client(&service, &mut out);
        server(&service, &mut out);
        out += "}\n";
        buffer.push_str(&out);
    }
}

fn client(service: &Service, out: &mut String) {
    let docs = documentation(&service.comments, "Calls one server; clones call the same.");
    let name = &service.name;
    *out += &format!(
        "{docs}#[derive(Clone, Debug)]\npub struct {name}Client {{ channel: \
         ::slim::rpc::Channel }}\nimpl {name}Client {{\n/// Calls through this channel, which others may share.\npub fn \
         new(channel: ::slim::rpc::Channel) -> Self {{ Self {{ channel }} }}\n"
    );
    for method in &service.methods {
        let Types { request, response } = Types::of(method);
        let (call, returned) = match (method.client_streaming, method.server_streaming) {
            (false, false) => ("unary", response),
            (false, true) => ("server_streaming", format!("{TYPED}::Responses<{response}>")),
            (true, false) => (
                "client_streaming",
                format!("({TYPED}::Requests<{request}>, {TYPED}::Response<{response}>)"),
            ),
            (true, true) => (
                "bidirectional",
                format!("({TYPED}::Requests<{request}>, {TYPED}::Responses<{response}>)"),
            ),
        };
        calling(method, call, &returned, out);
    }
    *out += "}\n";
}

fn group_client(service: &Service, out: &mut String) {
    let docs = documentation(
        &service.comments,
        "Calls several servers at once, each of which answers for itself; clones call the same.",
    );
    let name = &service.name;
    *out += &format!(
        "{docs}#[derive(Clone, Debug)]\npub struct {name}GroupClient {{ channel: ::slim::rpc::GroupChannel }}\nimpl \
         {name}GroupClient {{\n/// Calls through this channel, which others may share.\npub fn new(channel: \
         ::slim::rpc::GroupChannel) -> Self {{ Self {{ channel }} }}\n"
    );
    for method in &service.methods {
        let Types { request, response } = Types::of(method);
        let responses = format!("{TYPED}::GroupResponses<{response}>");
        let (call, returned) = if method.client_streaming {
            (
                "stream_group",
                format!("({TYPED}::Requests<{request}>, {responses})"),
            )
        } else {
            ("call_group", responses)
        };
        calling(method, call, &returned, out);
    }
    *out += "}\n";
}

/// One method of a client.
fn calling(method: &Method, call: &str, returned: &str, out: &mut String) {
    let (parameter, argument) = if method.client_streaming {
        (String::new(), "")
    } else {
        (format!("request: &{}, ", Types::of(method).request), "request, ")
    };
    *out += &format!(
        "{}pub async fn {}(&self, {parameter}options: ::slim::rpc::CallOptions) -> {} {{ {TYPED}::{call}(&self.channel, \
         SERVICE, \"{}\", {argument}options).await }}\n",
        documentation(&method.comments, ""),
        method_name(method),
        result(returned),
        method.proto_name,
    );
}

fn server(service: &Service, out: &mut String) {
    let name = &service.name;
    let docs = documentation(
        &service.comments,
        "What a server implements; the methods may be written as `async fn`.",
    );
    *out += &format!(
        "{docs}pub trait {name}: \
         ::core::marker::Send + ::core::marker::Sync + 'static {{\n"
    );
    let mut registered = String::new();
    for method in &service.methods {
        let Types { request, response } = Types::of(method);
        let (register, parameters, arguments, returned) =
            match (method.client_streaming, method.server_streaming) {
                (false, false) => (
                    "serve_unary",
                    format!("request: {request}, {CONTEXT}"),
                    "request, context",
                    response,
                ),
                (false, true) => (
                    "serve_server_streaming",
                    format!("request: {request}, {CONTEXT}, responses: {TYPED}::ResponseSink<{response}>"),
                    "request, context, responses",
                    "()".to_owned(),
                ),
                (true, false) => (
                    "serve_client_streaming",
                    format!("requests: {TYPED}::RequestStream<{request}>, {CONTEXT}"),
                    "requests, context",
                    response,
                ),
                (true, true) => (
                    "serve_bidirectional",
                    format!(
                        "requests: {TYPED}::RequestStream<{request}>, {CONTEXT}, responses: \
                     {TYPED}::ResponseSink<{response}>"
                    ),
                    "requests, context, responses",
                    "()".to_owned(),
                ),
            };
        let rust_name = method_name(method);
        *out += &format!(
            "{}fn {rust_name}(&self, {parameters}) -> impl ::core::future::Future<Output = {}> + ::core::marker::Send;\n",
            documentation(&method.comments, ""),
            result(&returned),
        );
        registered += &format!(
            "let shared = ::std::sync::Arc::clone(&implementation);\n{TYPED}::{register}(server, SERVICE, \"{}\", move \
             |{arguments}| {{ let implementation = ::std::sync::Arc::clone(&shared); async move {{ \
             implementation.{rust_name}({arguments}).await }} }});\n",
            method.proto_name,
        );
    }
    *out += &format!(
        "}}\n/// Registers every method of the service.\npub fn add_{}_to_server<T: {name}>(server: &mut \
         ::slim::rpc::Server, implementation: T) {{\nlet implementation = \
         ::std::sync::Arc::new(implementation);\n{registered}}}\n",
        snake(&service.proto_name).trim_start_matches("r#"),
    );
}

const TYPED: &str = "::slim::rpc::typed";
const CONTEXT: &str = "context: ::slim::rpc::Context";

/// The messages of a method as the service's module names them.
struct Types {
    request: String,
    response: String,
}

impl Types {
    fn of(method: &Method) -> Self {
        Self {
            request: outside(&method.input_type),
            response: outside(&method.output_type),
        }
    }
}

/// The path of a type, written for the module of the package, from one module further in.
fn outside(path: &str) -> String {
    if path.starts_with("::") || PRIMITIVES.contains(&path) {
        path.to_owned()
    } else {
        format!("super::{path}")
    }
}

fn result(of: &str) -> String {
    format!("::core::result::Result<{of}, ::slim::rpc::Status>")
}

/// The comment of an element, and a sentence of ours behind it.
fn documentation(comments: &Comments, sentence: &str) -> String {
    let comments = Comments {
        // What stands apart from an element describes something else.
        leading_detached: Vec::new(),
        ..comments.clone()
    };
    let mut docs = String::new();
    comments.append_with_indent(0, &mut docs);
    if !sentence.is_empty() {
        let gap = if docs.is_empty() { "" } else { "///\n" };
        docs += &format!("{gap}/// {sentence}\n");
    }
    docs
}

fn full_name(service: &Service) -> String {
    if service.package.is_empty() {
        service.proto_name.clone()
    } else {
        format!("{}.{}", service.package, service.proto_name)
    }
}

fn module_name(service: &Service) -> String {
    snake(&format!("{}_rpc", service.proto_name))
}

fn method_name(method: &Method) -> String {
    if TAKEN.contains(&method.name.as_str()) {
        format!("{}_", method.name)
    } else {
        method.name.clone()
    }
}

/// As prost names modules; it shows that function nowhere else.
fn snake(name: &str) -> String {
    Module::from_protobuf_package_name(name).to_string()
}
