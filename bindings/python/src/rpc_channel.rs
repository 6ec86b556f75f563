//! Channels: calls to one server, or to several.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use pyo3::prelude::*;
use slim::ConnectionId;
use slim::rpc::{Channel, GroupChannel};

use crate::app::App;
use crate::error;
use crate::item::owned;
use crate::name::{self, NameArgument};
use crate::process::Process;
use crate::rpc_call::{self, Line, Question, RpcCall};

/// Calls to one server, or to several at once. The last reference, those of its calls included, closes its session.
#[pyclass(frozen)]
pub(crate) struct RpcChannel {
    line: Line,
    process: Arc<Process>,
}

impl RpcChannel {
    /// To an application of this name.
    pub(crate) fn to_server(app: &App, server: NameArgument, connection: Option<u64>) -> PyResult<Self> {
        let server = name::from_python(server)?;
        let channel = match connection {
            Some(id) => Channel::over(app.app(), server, ConnectionId(id)),
            None => Channel::new(app.app(), server),
        };
        Ok(Self {
            line: Line::One(channel),
            process: Arc::clone(app.process()?),
        })
    }

    /// To several.
    pub(crate) fn to_group(
        py: Python<'_>,
        app: &App,
        servers: Vec<NameArgument>,
        connection: Option<u64>,
    ) -> PyResult<Self> {
        let servers = servers
            .into_iter()
            .map(name::from_python)
            .collect::<PyResult<Vec<_>>>()?;
        let channel = match connection {
            Some(id) => GroupChannel::over(app.app(), servers, ConnectionId(id)),
            None => GroupChannel::new(app.app(), servers),
        };
        Ok(Self {
            line: Line::Group(channel.map_err(|status| error::status(py, status))?),
            process: Arc::clone(app.process()?),
        })
    }
}

#[pymethods]
impl RpcChannel {
    /// One request, one response, from one server. Resolves with it; cancelling the future cancels the call.
    fn unary<'py>(
        &self,
        py: Python<'py>,
        service: String,
        method: String,
        request: &[u8],
        timeout_seconds: Option<f64>,
        metadata: BTreeMap<String, String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Line::One(channel) = self.line.clone() else {
            return Err(pyo3::exceptions::PyValueError::new_err(
                "this channel leads to a group, where each server answers; use call_multicast_unary_async",
            ));
        };
        let request = Bytes::copy_from_slice(request);
        let options = rpc_call::options(timeout_seconds, metadata);
        let work = async move {
            let response = channel.unary(&service, &method, request, options).await?;
            Ok(owned(response))
        };
        self.process.check()?.bridge.future_with(py, work, error::status)
    }

    /// Any other call; without `request` it has a stream of them.
    fn call(
        &self,
        service: String,
        method: String,
        request: Option<&[u8]>,
        timeout_seconds: Option<f64>,
        metadata: BTreeMap<String, String>,
    ) -> PyResult<RpcCall> {
        self.process.check()?;
        let question = Question {
            service,
            method,
            request: request.map(Bytes::copy_from_slice),
            options: rpc_call::options(timeout_seconds, metadata),
        };
        Ok(RpcCall::new(
            self.line.clone(),
            question,
            Arc::clone(&self.process),
        ))
    }

    /// Ends the session, and with it every call under way; the next call opens another.
    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let line = self.line.clone();
        self.process.check()?.bridge.future(py, async move {
            match line {
                Line::One(channel) => channel.close().await,
                Line::Group(channel) => channel.close().await,
            }
            Ok(())
        })
    }
}
