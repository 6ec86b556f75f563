//! Names in Python: modules of files, names of messages, and what to do about keywords.

use std::collections::BTreeMap;

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

/// Words that are no names, of Python 3.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

pub(crate) fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name)
}

/// The path of a file's modules without their endings: `a/my-file.proto` is `a/my_file`.
pub(crate) fn path(file: &str) -> String {
    file.strip_suffix(".proto").unwrap_or(file).replace('-', "_")
}

/// The module of a file's messages: `a.my_file_pb2`.
pub(crate) fn module(file: &str) -> String {
    path(file).replace('/', ".") + "_pb2"
}

/// What the module of a file's messages is called where it is imported: `a_dot_my__file__pb2`.
pub(crate) fn alias(file: &str) -> String {
    module(file).replace('_', "__").replace('.', "_dot_")
}

/// Imports the module of a file's messages under its alias.
pub(crate) fn import(file: &str) -> String {
    let (module, alias) = (module(file), alias(file));
    if module.split('.').any(is_keyword) {
        return format!("{alias} = importlib.import_module({module:?})\n");
    }
    match module.rsplit_once('.') {
        Some((package, name)) => format!("from {package} import {name} as {alias}\n"),
        None => format!("import {module} as {alias}\n"),
    }
}

/// Whether [`import`] needs `importlib`.
pub(crate) fn needs_importlib(file: &str) -> bool {
    module(file).split('.').any(is_keyword)
}

/// An expression for an attribute, which may be no name in Python.
pub(crate) fn attribute(of: &str, name: &str) -> String {
    if is_keyword(name) {
        format!("getattr({of}, {name:?})")
    } else {
        format!("{of}.{name}")
    }
}

/// Where the messages and enums of all files are.
#[derive(Debug, Default)]
pub(crate) struct Types<'a> {
    /// By full name with a leading dot.
    types: BTreeMap<String, Type<'a>>,
}

/// One message or enum.
#[derive(Clone, Debug)]
pub(crate) struct Type<'a> {
    /// The file that declares it.
    pub(crate) file: &'a str,
    /// Its name, after those of the messages around it.
    pub(crate) path: Vec<&'a str>,
    /// Present for the message behind a map field.
    pub(crate) map_entry: Option<&'a DescriptorProto>,
}

impl<'a> Types<'a> {
    pub(crate) fn new(files: &'a [FileDescriptorProto]) -> Self {
        let mut types = Self::default();
        for file in files {
            let package = match file.package() {
                "" => String::new(),
                package => format!(".{package}"),
            };
            types.add(file.name(), &package, &[], &file.message_type, &file.enum_type);
        }
        types
    }

    fn add(
        &mut self,
        file: &'a str,
        scope: &str,
        outer: &[&'a str],
        messages: &'a [DescriptorProto],
        enums: &'a [EnumDescriptorProto],
    ) {
        let within = |name: &'a str| [outer, &[name]].concat();
        for declared in enums {
            let found = Type {
                file,
                path: within(declared.name()),
                map_entry: None,
            };
            self.types.insert(format!("{scope}.{}", declared.name()), found);
        }
        for message in messages {
            let (name, path) = (format!("{scope}.{}", message.name()), within(message.name()));
            self.add(file, &name, &path, &message.nested_type, &message.enum_type);
            let is_entry = message
                .options
                .as_ref()
                .is_some_and(|options| options.map_entry());
            let found = Type {
                file,
                path,
                map_entry: is_entry.then_some(message),
            };
            self.types.insert(name, found);
        }
    }

    /// The type of this full name.
    pub(crate) fn find(&self, full_name: &str) -> &Type<'a> {
        self.types
            .get(full_name)
            .expect("protox refuses files that name types which no file declares")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_as_by_every_protobuf_compiler() {
        assert_eq!(path("a/my-file.v1.proto"), "a/my_file.v1");
        assert_eq!(
            import("top_level.proto"),
            "import top_level_pb2 as top__level__pb2\n"
        );
        assert_eq!(
            import("a/b_c/d.proto"),
            "from a.b_c import d_pb2 as a_dot_b__c_dot_d__pb2\n"
        );
        assert_eq!(
            import("a/import/d.proto"),
            "a_dot_import_dot_d__pb2 = importlib.import_module(\"a.import.d_pb2\")\n"
        );
        assert!(needs_importlib("a/import/d.proto") && !needs_importlib("import.proto"));
    }

    #[test]
    fn keywords_are_reached_as_attributes() {
        assert_eq!(attribute("a_pb2", "Name"), "a_pb2.Name");
        assert_eq!(attribute("a_pb2", "None"), "getattr(a_pb2, \"None\")");
    }
}
