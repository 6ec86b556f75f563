//! Every protocol limit in one place, with the relations between them.

use std::time::Duration;

/// Largest frame, in bytes, that upstream accepts (wire-routing A14); larger ones are refused at the sender.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Room that a publish leaves for header, token, signatures and MLS framing below [`FRAME_BYTES_MAX`].
pub const FRAME_OVERHEAD_MAX: usize = 64 * 1024;
/// Largest application payload, in bytes. MLS pads to steps of an eighth of the next power of two, so a payload
/// may grow to the next multiple of 512 KiB; this one stays within [`FRAME_BYTES_MAX`] after that.
pub const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX - 512 * 1024 - FRAME_OVERHEAD_MAX;
/// Largest name component, in bytes (threat model, hard limits).
pub const NAME_COMPONENT_BYTES_MAX: usize = 128;
/// Most metadata entries of one message.
pub const METADATA_ENTRIES_MAX: usize = 64;
/// Most metadata bytes (keys and values together) of one message.
pub const METADATA_BYTES_MAX: usize = 32 * 1024;
/// Hop budget that an originator writes (wire-routing A2.2).
pub const TTL_DEFAULT: u32 = 8;
/// Time limit of the link negotiation, both roles (wire-routing A4.3).
pub const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest frame while a link is not negotiated: the largest request has about 1.5 KiB (ML-KEM key included), and
/// a stranger gets no more memory than this (threat model T-O1).
pub const NEGOTIATION_BYTES_MAX: usize = 16 * 1024;
/// Longest link id that is accepted; upstream's are 36 bytes, or two node ids for peers.
pub const LINK_ID_BYTES_MAX: usize = 512;
/// Egress budget of a link, in frames (architecture, "Overload").
pub const EGRESS_FRAMES_MAX: usize = 1024;
/// Egress budget of a link, in bytes.
pub const EGRESS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Link and SubscriptionAck frames that wait in the priority lane of a link: as many as data frames; a peer that
/// leaves more acknowledgements unread repeats its requests anyway.
pub const EGRESS_CONTROL_FRAMES_MAX: usize = 1024;
/// A link whose egress queue stays full this long is closed.
pub const EGRESS_FULL_MAX: Duration = Duration::from_secs(10);
/// Connections that a node keeps open at once (threat model, hard limits).
pub const CONNECTIONS_MAX: usize = 10_000;
/// The same from one remote address other than this machine's own.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 256;
/// Largest file of certificates or keys; a distribution's whole list of CAs has a quarter of a MiB.
pub const TLS_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Inputs that wait for the task that owns the router; whoever has more to say waits.
pub const ROUTER_INPUTS_MAX: usize = 1024;
/// A publish for one receiver waits this long for space in a full egress queue, when it came from an edge link.
pub const EGRESS_WAIT_MAX: Duration = Duration::from_secs(1);
/// Subscriptions of one link.
pub const SUBSCRIPTIONS_PER_LINK_MAX: usize = 10_000;
/// Subscriptions of one node.
pub const SUBSCRIPTIONS_MAX: usize = 1_000_000;
/// Routes that the applications of one process choose among several connections.
pub const ROUTES_MAX: usize = 10_000;
/// Senders that a process with several connections remembers the way back to; who is forgotten is learned again.
pub const ROUTES_LEARNED_MAX: usize = 4096;
/// Messages remembered while one link replaces another: what a node queues for a link at most, for both links.
pub const TWINS_MAX: usize = 2 * (EGRESS_FRAMES_MAX + EGRESS_CONTROL_FRAMES_MAX);
/// Wait for a subscription acknowledgement before it is repeated (wire-routing A7.4).
pub const SUBSCRIPTION_ACK_INTERVAL: Duration = Duration::from_secs(5);
/// Sends of one subscription request before the application is told of the failure.
pub const SUBSCRIPTION_SENDS_MAX: u32 = 4;
/// Subscription requests of local applications that wait for an uplink's acknowledgement.
pub const SUBSCRIPTIONS_PENDING_MAX: usize = 10_000;

/// Messages kept for retransmission per session; also the largest gap a receiver asks for (wire-session §4.1).
pub const SEND_WINDOW_MAX: usize = 512;
/// Bytes of unacknowledged messages per session.
pub const SEND_WINDOW_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of acknowledged messages kept for retransmission per session.
pub const SEND_HISTORY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Messages held out of order per sender.
pub const REORDER_MAX: usize = 512;
/// Received messages that wait for the application, per session.
pub const INBOX_MESSAGES_MAX: usize = 1024;
/// Bytes of received messages that wait for the application, per session.
pub const INBOX_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Data sealed in an epoch that this member has not reached, messages per group.
pub const FUTURE_EPOCH_MESSAGES_MAX: usize = 256;
/// The same in bytes.
pub const FUTURE_EPOCH_BYTES_MAX: usize = 1024 * 1024;
/// Commits that arrived early, per group.
pub const PARKED_COMMITS_MAX: usize = 64;
/// Control messages remembered per sender for replay detection (wire-session §2.4 keeps 1000).
pub const REPLAY_IDS_PER_SENDER_MAX: usize = 1000;
/// Senders remembered per session for replay detection.
pub const REPLAY_SENDERS_MAX: usize = 1024;
/// MLS epochs before the current one whose messages still open: what was sent just before a commit arrives
/// just after it (wire-session §3.7); each costs secrets kept, which weakens forward secrecy.
pub const PAST_EPOCHS_MAX: usize = 3;
/// Unused key packages of one session; each answer to a repeated JOIN_REQUEST makes one.
pub const KEY_PACKAGES_MAX: usize = 16;
/// An unused key package is forgotten at this age in seconds (threat model T-K1).
pub const KEY_PACKAGE_LIFE_SECS: u64 = 10 * 60;
/// Members of one group.
pub const MEMBERS_MAX: usize = 1000;
/// Sessions of one application.
pub const SESSIONS_MAX: usize = 10_000;
/// Instances that one session to any instance of a name keeps a one-to-one session with; beyond it the one that waits
/// longest is given up. Many more would hold heartbeats and timers for peers that are rarely spoken to.
pub const ANYCAST_CONTACTS_MAX: usize = 64;
/// Invitations that were accepted but not completed by a welcome, per application.
pub const HALF_JOINED_MAX: usize = 64;
/// A half-joined session ends after this (wire-session R10).
pub const HALF_JOINED_TIMEOUT: Duration = Duration::from_secs(60);
/// Membership changes waiting at a moderator.
pub const PENDING_CHANGES_MAX: usize = 1024;
/// Period of heartbeats and of the liveness check (wire-session §4.10).
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// Consecutive silent heartbeat periods after which a member counts as offline.
pub const HEARTBEAT_MISSES_MAX: u32 = 3;
/// Control retransmission period when the session has none of its own (wire-session §4.1).
pub const CONTROL_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Control retransmissions when the session has none of its own.
pub const CONTROL_RETRIES_DEFAULT: u32 = 10;
/// Longest drain of a closing session (wire-session §4.13).
pub const DRAIN_MAX: Duration = Duration::from_secs(60);
/// Messages that wait for keys of their sender's issuer, per application: some invitations and answers.
pub const UNVERIFIED_MAX: usize = 256;
/// The same in bytes.
pub const UNVERIFIED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest wait of a message for keys: longer than most fetches take, shorter than the sender's patience of some
/// repetitions a second apart.
pub const UNVERIFIED_WAIT_MAX: Duration = Duration::from_secs(5);
/// Life of a shared-secret token in seconds (wire-session §1.3).
pub const TOKEN_LIFE_SECS: u64 = 3600;
/// A leaf credential is refreshed at this age in seconds (wire-session §9.3 item 1).
pub const CREDENTIAL_REFRESH_SECS: u64 = 50 * 60;
/// Longest identity token that is looked at, in bytes: a shared-secret token of the longest name has some 600.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Clock skew accepted for tokens of the future, in seconds.
pub const TOKEN_SKEW_SECS: u64 = 5;
/// Clock skew accepted for JSON Web Tokens in both directions, in seconds (wire-session §1.5).
pub const JWT_LEEWAY_SECS: u64 = 60;
/// Longest key set (JWKS) that is read, in bytes: an RSA key with its certificate chain has some 6 KiB.
pub const KEY_SET_BYTES_MAX: usize = 128 * 1024;
/// Keys of one key set. A token without key id is tried with each key of its algorithm, so this also bounds the
/// work that a forged token makes: 32 verifications, some milliseconds.
pub const KEY_SET_KEYS_MAX: usize = 32;
/// Issuers that one verifier accepts.
pub const ISSUERS_MAX: usize = 16;
/// Keys of an issuer are fetched anew at this age (wire-session §1.5).
pub const ISSUER_KEYS_LIFE: Duration = Duration::from_secs(3600);
/// Keys that cannot be fetched anew are given up at this age: an issuer's outage of some hours ends no session, but
/// a key that its issuer has withdrawn is not trusted for days.
pub const ISSUER_KEYS_LIFE_MAX: Duration = Duration::from_secs(6 * 3600);
/// A token with an unknown key makes its issuer be asked again, but after a fetch that brought nothing new not
/// sooner than this: anybody can make such a token.
pub const ISSUER_ASKED_AGAIN: Duration = Duration::from_secs(60);
/// The same after a fetch that brought other keys: its issuer rotates them, maybe every few seconds.
pub const ISSUER_FOLLOWED: Duration = Duration::from_secs(1);
/// Verdicts on link tokens that a listener remembers: a thousand clients that dial again and again, in some
/// megabytes at the longest claims.
pub const LINK_VERDICTS_MAX: usize = 1024;
/// Longest wait of a call for keys of its token's issuer that are being fetched; the call itself has five seconds.
pub const LINK_KEYS_WAIT_MAX: Duration = Duration::from_secs(4);
/// Deadline of one fetch, behind the deadline of the request itself ([`HTTP_REQUEST_TIMEOUT`]).
pub const ISSUER_FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// First pause after a failed fetch; it doubles with each failure.
pub const ISSUER_BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest pause after a failed fetch.
pub const ISSUER_BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Longest answer of a web server that is read, in bytes: key sets and tokens, with room for a verbose one.
pub const HTTP_BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest head of such an answer, in bytes.
pub const HTTP_HEAD_BYTES_MAX: usize = 32 * 1024;
/// Deadline of a request to a web server, connecting and redirects included.
pub const HTTP_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects that are followed, each within one origin: a missing slash, an old path.
pub const HTTP_REDIRECTS_MAX: usize = 3;
/// Trust domains whose bundles are kept: an organisation's own and those it federates with.
pub const SPIFFE_TRUST_DOMAINS_MAX: usize = 64;
/// Largest message of a SPIFFE Workload API that is read, in bytes: a dozen identities with bundles of dozens of CAs
/// have a quarter of it.
pub const SPIFFE_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Deadline of a call to a Workload API, and of a stream's first message: the agent may have to ask its server.
pub const SPIFFE_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// First pause after a failed call to a Workload API, or after a lost stream; it doubles with each failure.
pub const SPIFFE_BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest such pause: an agent that was restarted is found again while most tokens still live.
pub const SPIFFE_BACKOFF_MAX: Duration = Duration::from_secs(30);

const _: () = assert!(HTTP_REQUEST_TIMEOUT.as_secs() < ISSUER_FETCH_TIMEOUT.as_secs());
const _: () = assert!(KEY_SET_BYTES_MAX <= HTTP_BODY_BYTES_MAX);

/// Authorization rules of a node. Each is looked at once for each new link.
pub const RULES_MAX: usize = 1000;
/// Name patterns in all rules of a node; a link that matches them all then keeps about a MiB of them.
pub const RULE_PATTERNS_MAX: usize = 10_000;
/// Senders that a link under rules may answer without a rule of its own; 8 KiB a link. A forgotten one is known
/// again after its next message or heartbeat.
pub const CORRESPONDENTS_MAX: usize = 1024;
/// Refused requests that wait to be logged; the rest is only counted.
pub const REFUSALS_MAX: usize = 64;
/// Longest CEL expression, in bytes; its parser needs stack and time in proportion.
pub const POLICY_BYTES_MAX: usize = 4096;
/// Steps that the evaluation of a CEL expression may take in the worst case: some ten milliseconds, once a link.
pub const POLICY_STEPS_MAX: u64 = 100_000;

/// Ids of 0.4 applications that are known from what they sent, since they subscribe further names without an id.
pub const OLDER_IDS_LEARNED_MAX: usize = 4096;
/// Links of older wires that a service holds still instead of serving them: a tenth of its connections, so that they
/// take no place of others.
pub const OLDER_HELD_MAX: usize = CONNECTIONS_MAX / 10;
/// A link of an older wire that is not served ends after this; its application dials again at once (wire-1x X7).
pub const OLDER_HELD_TIME: Duration = Duration::from_secs(60);
/// Calls under way, per channel of a caller and per server.
pub const RPC_CALLS_MAX: usize = 1024;
/// Calls under way of one caller at a server, so that one cannot take all of them.
pub const RPC_CALLS_PER_PEER_MAX: usize = 256;
/// Responses to one caller in a group that wait for the acknowledgement of those before them.
pub const RPC_RESPONSES_QUEUED_MAX: usize = 256;
/// Longest time of a call, and that of a call which says nothing: what upstream's callers write (wire-session §7.2).
pub const RPC_TIMEOUT_MAX: Duration = Duration::from_secs(36_000);

const _: () = assert!(PAYLOAD_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(CREDENTIAL_REFRESH_SECS < TOKEN_LIFE_SECS);
const _: () = assert!(REORDER_MAX <= SEND_WINDOW_MAX);
const _: () = assert!(KEY_PACKAGE_LIFE_SECS > HALF_JOINED_TIMEOUT.as_secs());
