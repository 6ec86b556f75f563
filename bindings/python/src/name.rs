//! Names between Python and the SDK: three texts and a number of up to 128 bits.

use pyo3::prelude::*;
use slim::{FullName, NameId};

use crate::error;

/// A name from Python; without id, or with all bits set, it means any instance.
pub(crate) type NameArgument = (String, String, String, Option<u128>);

/// A name for Python; all bits of the number are set when the name has no id.
pub(crate) type NameParts = (String, String, String, u128);

/// Reads a name.
pub(crate) fn from_python((organisation, namespace, application, id): NameArgument) -> PyResult<FullName> {
    let name = FullName::new(&organisation, &namespace, &application).map_err(error::name)?;
    Ok(match id {
        Some(id) => name.with_id(NameId(id)),
        None => name,
    })
}

/// Writes a name.
pub(crate) fn to_python(name: &FullName) -> NameParts {
    let [organisation, namespace, application] = name.components().map(str::to_owned);
    (organisation, namespace, application, name.id().0)
}
