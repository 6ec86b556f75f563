"""Secure Low-Latency Interactive Messaging: the names of the 0.4 generation over today's protocol.

``Slim`` is the application, ``PySessionConfiguration.Streaming`` describes a group and
``PySessionConfiguration.FireAndForget`` 1:1 messages, and the ``SLIM...Error`` classes say what went wrong. The module
functions do the same for a ``PyService``, without the class. ``Channel`` and ``Server`` are calls (SlimRPC).
"""

import atexit

from slim_bindings._configuration import PySessionConfiguration, PySessionDirection, PySessionType
from slim_bindings._errors import (
    SLIMCertificateExpiredError,
    SLIMCertificateNotYetValidError,
    SLIMClientCertificateError,
    SLIMInviteError,
    SLIMMessageLostError,
    SLIMPermissionDeniedError,
    SLIMPlainTextError,
    SLIMSessionClosedError,
    SLIMSessionNotFoundError,
    SLIMTimeoutError,
    SLIMTlsError,
    SLIMTlsVersionError,
    SLIMUnauthenticatedError,
    SLIMUnknownCaError,
    SLIMWrongHostError,
    parse_error_message,
)
from slim_bindings._functions import (
    connect,
    create_pyservice,
    create_session,
    delete_session,
    disconnect,
    get_default_session_config,
    get_session_config,
    init_tracing,
    invite,
    publish,
    receive,
    remove,
    remove_route,
    run_server,
    set_default_session_config,
    set_route,
    set_session_config,
    stop_server,
    subscribe,
    unsubscribe,
)
from slim_bindings._identity import PyIdentityProvider, PyIdentityVerifier
from slim_bindings._keys import PyAlgorithm, PyKey, PyKeyData, PyKeyFormat
from slim_bindings._invitations import Invitation
from slim_bindings._names import PyName
from slim_bindings._refusals import (
    SLIMForeignTokenError,
    SLIMIdentityError,
    SLIMIssuerUnavailableError,
    SLIMTokenExpiredError,
    SLIMTokenMalformedError,
    SLIMTokenNotYetValidError,
    SLIMUnknownKeyError,
    SLIMWrongAlgorithmError,
    SLIMWrongAudienceError,
    SLIMWrongIssuerError,
    SLIMWrongSignatureError,
    SLIMWrongSubjectError,
)
from slim_bindings._rpc_channel import Channel
from slim_bindings._rpc_context import Context, RequestStream, ResponseSink
from slim_bindings._rpc_errors import RpcCode, RpcError
from slim_bindings._rpc_handlers import (
    StreamStreamHandler,
    StreamUnaryHandler,
    UnaryStreamHandler,
    UnaryUnaryHandler,
)
from slim_bindings._rpc_messages import (
    MulticastStreamMessage,
    RpcMessageContext,
    RpcMulticastItem,
    StreamMessage,
)
from slim_bindings._rpc_server import Server
from slim_bindings._rpc_streams import (
    BidiStreamHandler,
    MulticastBidiStreamHandler,
    MulticastResponseReader,
    RequestStreamWriter,
    ResponseStreamReader,
)
from slim_bindings._service import PyService, leave_process
from slim_bindings._session import Member, MembershipEvent, PySessionInfo
from slim_bindings._slim import Slim
from slim_bindings._version import (
    SESSION_UNSPECIFIED,
    __version__,
    build_info,
    build_profile,
    get_build_info,
    get_build_profile,
    get_version,
)

atexit.register(leave_process)

__all__ = [
    "SESSION_UNSPECIFIED",
    "BidiStreamHandler",
    "Channel",
    "Context",
    "Invitation",
    "Member",
    "MembershipEvent",
    "MulticastBidiStreamHandler",
    "MulticastResponseReader",
    "MulticastStreamMessage",
    "PyAlgorithm",
    "PyIdentityProvider",
    "PyIdentityVerifier",
    "PyKey",
    "PyKeyData",
    "PyKeyFormat",
    "PyName",
    "PyService",
    "PySessionConfiguration",
    "PySessionDirection",
    "PySessionInfo",
    "PySessionType",
    "RequestStream",
    "RequestStreamWriter",
    "ResponseSink",
    "ResponseStreamReader",
    "RpcCode",
    "RpcError",
    "RpcMessageContext",
    "RpcMulticastItem",
    "SLIMCertificateExpiredError",
    "SLIMCertificateNotYetValidError",
    "SLIMClientCertificateError",
    "SLIMForeignTokenError",
    "SLIMIdentityError",
    "SLIMInviteError",
    "SLIMIssuerUnavailableError",
    "SLIMMessageLostError",
    "SLIMPermissionDeniedError",
    "SLIMPlainTextError",
    "SLIMSessionClosedError",
    "SLIMSessionNotFoundError",
    "SLIMTimeoutError",
    "SLIMTlsError",
    "SLIMTlsVersionError",
    "SLIMUnauthenticatedError",
    "SLIMTokenExpiredError",
    "SLIMTokenMalformedError",
    "SLIMTokenNotYetValidError",
    "SLIMUnknownCaError",
    "SLIMUnknownKeyError",
    "SLIMWrongAlgorithmError",
    "SLIMWrongAudienceError",
    "SLIMWrongHostError",
    "SLIMWrongIssuerError",
    "SLIMWrongSignatureError",
    "SLIMWrongSubjectError",
    "Server",
    "Slim",
    "StreamMessage",
    "StreamStreamHandler",
    "StreamUnaryHandler",
    "UnaryStreamHandler",
    "UnaryUnaryHandler",
    "__version__",
    "build_info",
    "build_profile",
    "connect",
    "create_pyservice",
    "create_session",
    "delete_session",
    "disconnect",
    "get_build_info",
    "get_build_profile",
    "get_default_session_config",
    "get_session_config",
    "get_version",
    "init_tracing",
    "invite",
    "parse_error_message",
    "publish",
    "receive",
    "remove",
    "remove_route",
    "run_server",
    "set_default_session_config",
    "set_route",
    "set_session_config",
    "stop_server",
    "subscribe",
    "unsubscribe",
]
