//! What SlimRPC writes into the metadata of messages (wire-session §7.2).

use std::collections::BTreeMap;
use std::time::Duration;

use slim_proto::limits::RPC_TIMEOUT_MAX;
use slim_proto::{Now, UnixTime};

use crate::status::Code;

/// Fully-qualified protobuf service.
pub const SERVICE: &str = "service";
/// Method of the service.
pub const METHOD: &str = "method";
/// UUID of the call.
pub const RPC_ID: &str = "rpc-id";
/// `req` on what a server must handle.
pub const DIRECTION: &str = "slimrpc-dir";
/// Absolute deadline, Unix seconds with a fraction; first message only.
pub const TIMEOUT: &str = "slimrpc-timeout";
/// Status code; terminal messages only.
pub const CODE: &str = "slimrpc-code";
/// Ours: on responses `yes` says that the server understands a cancellation, on requests that it is one.
pub const CANCEL: &str = "slimrpc-cancel";
/// Keys that an application cannot use.
pub const RESERVED: [&str; 7] = [SERVICE, METHOD, RPC_ID, DIRECTION, TIMEOUT, CODE, CANCEL];

pub(crate) const REQUEST: &str = "req";
pub(crate) const YES: &str = "yes";

/// Metadata of a message.
pub(crate) type Metadata = BTreeMap<String, String>;

/// What every message of a call carries.
pub(crate) fn of_call(rpc_id: &str) -> Metadata {
    Metadata::from([(RPC_ID.to_owned(), rpc_id.to_owned())])
}

/// What every message of a caller carries.
pub(crate) fn of_request(rpc_id: &str) -> Metadata {
    let mut metadata = of_call(rpc_id);
    metadata.insert(DIRECTION.to_owned(), REQUEST.to_owned());
    metadata
}

pub(crate) fn with_code(mut metadata: Metadata, code: Code) -> Metadata {
    metadata.insert(CODE.to_owned(), code.number().to_string());
    metadata
}

/// The code of a terminal message. One that says OK and has content is data all the same (wire-session §7.4).
pub(crate) fn terminal_code(metadata: &Metadata, payload: &[u8]) -> Option<Code> {
    let code = Code::from_wire(metadata.get(CODE)?);
    (code != Code::Ok || payload.is_empty()).then_some(code)
}

/// The deadline as a text. The wall clock of the core counts whole seconds, so a second is added: the caller measures
/// its time itself, and the server must not be the stricter one.
pub(crate) fn deadline_text(now: Now, timeout: Duration) -> String {
    let UnixTime(seconds) = now.unix;
    let whole = seconds.saturating_add(1).saturating_add(timeout.as_secs());
    format!("{whole}.{:03}", timeout.subsec_millis())
}

/// What is left until a deadline. Text that is no time is no deadline, what is beyond the limit is the limit (W14).
pub(crate) fn time_left(now: Now, text: Option<&String>) -> Duration {
    let Some(deadline) = text.and_then(|text| text.trim().parse::<f64>().ok()) else {
        return RPC_TIMEOUT_MAX;
    };
    if deadline.is_nan() {
        return RPC_TIMEOUT_MAX;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds since 1970 are far below what a double counts exactly"
    )]
    let left = deadline - now.unix.0 as f64;
    Duration::from_secs_f64(left.clamp(0.0, RPC_TIMEOUT_MAX.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use slim_proto::Instant;

    use super::*;

    fn at(seconds: u64) -> Now {
        Now {
            mono: Instant::ZERO,
            unix: UnixTime(seconds),
        }
    }

    #[test]
    fn a_deadline_survives_the_wire_and_the_server_is_not_the_stricter_side() {
        let text = deadline_text(at(1000), Duration::from_millis(1500));
        assert_eq!(text, "1002.500");
        assert_eq!(time_left(at(1000), Some(&text)), Duration::from_millis(2500));
    }

    #[test]
    fn hostile_deadlines_are_bounded() {
        let left = |text: &str| time_left(at(1000), Some(&text.to_owned()));
        for (text, expected) in [
            ("-5", Duration::ZERO),
            ("-inf", Duration::ZERO),
            ("999.9", Duration::ZERO),
            ("inf", RPC_TIMEOUT_MAX),
            ("1e300", RPC_TIMEOUT_MAX),
            ("NaN", RPC_TIMEOUT_MAX),
            ("tomorrow", RPC_TIMEOUT_MAX),
            ("", RPC_TIMEOUT_MAX),
            ("1000.25", Duration::from_millis(250)),
        ] {
            assert_eq!(left(text), expected, "{text}");
        }
        assert_eq!(time_left(at(1000), None), RPC_TIMEOUT_MAX);
    }

    #[test]
    fn a_code_of_ok_ends_a_stream_only_without_content() {
        let ended = with_code(of_call("u"), Code::Ok);
        assert_eq!(terminal_code(&ended, b""), Some(Code::Ok));
        assert_eq!(terminal_code(&ended, b"data"), None);
        assert_eq!(
            terminal_code(&with_code(of_call("u"), Code::NotFound), b"gone"),
            Some(Code::NotFound)
        );
        assert_eq!(terminal_code(&of_call("u"), b""), None);
    }
}
