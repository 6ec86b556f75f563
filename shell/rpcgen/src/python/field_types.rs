//! The types of fields for type checkers: what is read from a message, and what its constructor takes.

use prost_types::FieldDescriptorProto;
use prost_types::field_descriptor_proto::{Label, Type as Kind};

use super::names::{self, Type, Types};

/// Both types of one field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FieldType {
    /// Of the attribute.
    pub(crate) read: String,
    /// Of the constructor's parameter, `None` left out.
    pub(crate) taken: String,
}

/// The types of a field as the module of `file` writes them.
pub(crate) fn of(field: &FieldDescriptorProto, file: &str, types: &Types<'_>) -> FieldType {
    let repeated = field.label() == Label::Repeated;
    let builtin = match field.r#type() {
        Kind::Message | Kind::Group => {
            let declared = types.find(field.type_name());
            return match map_fields(declared) {
                Some((key, value)) => map(&of(key, file, types), value, file, types),
                None => message(&reference(declared, file), repeated),
            };
        }
        Kind::Enum => {
            let name = reference(types.find(field.type_name()), file);
            return scalar(&name, &format!("{name} | _builtins.str"), repeated);
        }
        Kind::Double | Kind::Float => "_builtins.float",
        Kind::Bool => "_builtins.bool",
        Kind::String => "_builtins.str",
        Kind::Bytes => "_builtins.bytes",
        Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Fixed32
        | Kind::Fixed64
        | Kind::Sfixed32
        | Kind::Sfixed64 => "_builtins.int",
    };
    scalar(builtin, builtin, repeated)
}

fn scalar(read: &str, taken: &str, repeated: bool) -> FieldType {
    if repeated {
        FieldType {
            read: format!("_containers.RepeatedScalarFieldContainer[{read}]"),
            taken: format!("_abc.Iterable[{taken}]"),
        }
    } else {
        FieldType {
            read: read.to_owned(),
            taken: taken.to_owned(),
        }
    }
}

fn message(name: &str, repeated: bool) -> FieldType {
    let taken = format!("{name} | _abc.Mapping[_builtins.str, _typing.Any]");
    if repeated {
        FieldType {
            read: format!("_containers.RepeatedCompositeFieldContainer[{name}]"),
            taken: format!("_abc.Iterable[{taken}]"),
        }
    } else {
        FieldType {
            read: name.to_owned(),
            taken,
        }
    }
}

/// A map holds messages or scalars, and has another type for each.
fn map(key: &FieldType, value: &FieldDescriptorProto, file: &str, types: &Types<'_>) -> FieldType {
    let container = if matches!(value.r#type(), Kind::Message) {
        "MessageMap"
    } else {
        "ScalarMap"
    };
    let (key, value) = (&key.read, of(value, file, types).read);
    FieldType {
        read: format!("_containers.{container}[{key}, {value}]"),
        taken: format!("_abc.Mapping[{key}, {value}]"),
    }
}

/// Key and value of the message behind a map.
fn map_fields<'a>(declared: &Type<'a>) -> Option<(&'a FieldDescriptorProto, &'a FieldDescriptorProto)> {
    match declared.map_entry?.field.as_slice() {
        [key, value] => Some((key, value)),
        _ => None,
    }
}

/// A type as the module of `file` names it; checkers know no name that is a keyword.
fn reference(declared: &Type<'_>, file: &str) -> String {
    if declared.path.iter().any(|name| names::is_keyword(name)) {
        return "_typing.Any".to_owned();
    }
    let path = declared.path.join(".");
    if declared.file == file {
        path
    } else {
        format!("{}.{path}", names::alias(declared.file))
    }
}
