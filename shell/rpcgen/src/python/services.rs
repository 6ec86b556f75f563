//! The services of a file as their stubs in Python need them.

use prost_types::{FileDescriptorProto, MethodDescriptorProto};

use super::names::{self, Types};
use crate::{Error, comments};

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    /// As the file has it.
    pub(crate) name: String,
    /// With the package: the name in calls.
    pub(crate) full_name: String,
    /// Lines of its comment.
    pub(crate) comment: Vec<String>,
    pub(crate) methods: Vec<Method>,
}

/// One method.
#[derive(Debug)]
pub(crate) struct Method {
    /// The name in calls.
    pub(crate) name: String,
    /// The name in Python.
    pub(crate) python_name: String,
    /// Lines of its comment.
    pub(crate) comment: Vec<String>,
    /// Expression for the class of requests.
    pub(crate) request: String,
    /// Expression for the class of responses.
    pub(crate) response: String,
    pub(crate) streams_requests: bool,
    pub(crate) streams_responses: bool,
}

impl Method {
    /// How registrations and calls of this kind are named.
    pub(crate) fn shape(&self) -> &'static str {
        match (self.streams_requests, self.streams_responses) {
            (false, false) => "unary_unary",
            (false, true) => "unary_stream",
            (true, false) => "stream_unary",
            (true, true) => "stream_stream",
        }
    }
}

/// The services of this file, in its order.
pub(crate) fn of(file: &FileDescriptorProto, types: &Types<'_>) -> Result<Vec<Service>, Error> {
    let services = (0..).zip(&file.service);
    let services: Vec<Service> = services
        .map(|(index, service)| {
            let full_name = match file.package() {
                "" => service.name().to_owned(),
                package => format!("{package}.{}", service.name()),
            };
            let place = [comments::SERVICE, index];
            let methods = (0..).zip(&service.method).map(|(index, declared)| {
                let comment = comments::lines(file, &[place[0], place[1], comments::METHOD, index]);
                method(declared, comment, types)
            });
            let methods: Vec<Method> = methods.collect();
            distinct(&methods, &full_name)?;
            Ok(Service {
                name: service.name().to_owned(),
                comment: comments::lines(file, &place),
                full_name,
                methods,
            })
        })
        .collect::<Result<_, _>>()?;
    distinct_classes(&services)?;
    Ok(services)
}

/// The group stub of `X` has the name of the stub of `XGroup`.
fn distinct_classes(services: &[Service]) -> Result<(), Error> {
    for service in services {
        let group = format!("{}Group", service.name);
        if let Some(other) = services.iter().find(|other| other.name == group) {
            return Err(Error::SameName {
                service: service.full_name.clone(),
                first: "its stub for groups".to_owned(),
                second: format!("the stub of {}", other.name),
                name: format!("{group}Stub"),
                language: "Python",
            });
        }
    }
    Ok(())
}

fn method(declared: &MethodDescriptorProto, comment: Vec<String>, types: &Types<'_>) -> Method {
    Method {
        name: declared.name().to_owned(),
        python_name: python_name(declared.name()),
        comment,
        request: class(declared.input_type(), types),
        response: class(declared.output_type(), types),
        streams_requests: declared.client_streaming(),
        streams_responses: declared.server_streaming(),
    }
}

/// Names that mean something to Python are not used as they are.
fn python_name(name: &str) -> String {
    if names::is_keyword(name) {
        format!("{name}_")
    } else if name.starts_with("__") {
        format!("rpc{name}")
    } else {
        name.to_owned()
    }
}

fn distinct(methods: &[Method], service: &str) -> Result<(), Error> {
    for (index, method) in methods.iter().enumerate() {
        let before = methods.iter().take(index);
        if let Some(other) = before
            .into_iter()
            .find(|other| other.python_name == method.python_name)
        {
            return Err(Error::SameName {
                service: service.to_owned(),
                first: other.name.clone(),
                second: method.name.clone(),
                name: method.python_name.clone(),
                language: "Python",
            });
        }
    }
    Ok(())
}

/// An expression for the class of a message.
fn class(full_name: &str, types: &Types<'_>) -> String {
    let found = types.find(full_name);
    let module = names::alias(found.file);
    found
        .path
        .iter()
        .fold(module, |of, name| names::attribute(&of, name))
}
