//! A channel to several servers at once.

use std::collections::BTreeSet;

use bytes::Bytes;
use slim_proto::FullName;
use slim_rpc::{Code, Peers, Shape, Status};

use super::call::{Arrived, CallOptions, GroupClosed, Requests, Responses};
use super::channel::Channel;
use super::channel_task::Target;
use crate::app::App;
use crate::driver::connection::ConnectionId;

/// Calls to a group of servers, each of which answers for itself. The members are fixed; the group is made with the first
/// call. Clones are the same channel.
#[derive(Clone, Debug)]
pub struct GroupChannel {
    channel: Channel,
}

impl GroupChannel {
    /// A channel to these applications. Two instances of one name cannot be told apart in a call, so a name counts once.
    pub fn new(app: &App, servers: impl IntoIterator<Item = FullName>) -> Result<Self, Status> {
        Self::start(app, servers, None)
    }

    /// The same over a certain connection: the application's route for these names.
    pub fn over(
        app: &App,
        servers: impl IntoIterator<Item = FullName>,
        connection: ConnectionId,
    ) -> Result<Self, Status> {
        Self::start(app, servers, Some(connection))
    }

    fn start(
        app: &App,
        servers: impl IntoIterator<Item = FullName>,
        connection: Option<ConnectionId>,
    ) -> Result<Self, Status> {
        let members: BTreeSet<FullName> = servers.into_iter().map(|server| server.without_id()).collect();
        if members.is_empty() {
            return Err(Status::new(
                Code::InvalidArgument,
                "a group channel needs at least one server",
            ));
        }
        let target = Target::Group(members.iter().cloned().collect(), connection);
        Ok(Self {
            channel: Channel::start(app, target, Peers::Group(members)),
        })
    }

    /// One request to all; any number of responses of each.
    pub async fn call(
        &self,
        service: &str,
        method: &str,
        request: Bytes,
        options: CallOptions,
    ) -> Result<GroupResponses, Status> {
        let (_, responses) = self
            .channel
            .begin(service, method, options, Shape::Single, Some(request))
            .await?;
        Ok(GroupResponses::new(responses))
    }

    /// Any number of requests to all, and of responses of each.
    pub async fn stream(
        &self,
        service: &str,
        method: &str,
        options: CallOptions,
    ) -> Result<(Requests, GroupResponses), Status> {
        let (call, responses) = self
            .channel
            .begin(service, method, options, Shape::Stream, None)
            .await?;
        Ok((Requests::new(call), GroupResponses::new(responses)))
    }

    /// Ends the group, and with it every call under way; the next call makes a new one.
    pub async fn close(&self) {
        self.channel.close().await;
    }
}

/// What the servers of a group answer.
#[derive(Debug)]
pub struct GroupResponses {
    responses: Responses,
    closed: Option<GroupClosed>,
}

/// One answer of a group call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupResponse {
    /// Whose.
    pub source: FullName,
    /// A response, or the failure with which this server's part ended.
    pub result: Result<Bytes, Status>,
}

impl GroupResponses {
    fn new(responses: Responses) -> Self {
        Self {
            responses,
            closed: None,
        }
    }

    /// After the last item: which servers had finished and which had not, if the group ended under the call.
    pub fn closed(&self) -> Option<&GroupClosed> {
        self.closed.as_ref()
    }

    /// The next answer; `None` after every server has finished. A failure of the call as a whole, such as its deadline,
    /// is the outer error and the last item.
    pub async fn next(&mut self) -> Option<Result<GroupResponse, Status>> {
        loop {
            match self.responses.arrive().await? {
                Arrived::Response(source, response) => {
                    let result = Ok(response);
                    return Some(Ok(GroupResponse { source, result }));
                }
                Arrived::MemberEnded(source, Err(status)) => {
                    let result = Err(status);
                    return Some(Ok(GroupResponse { source, result }));
                }
                Arrived::MemberEnded(_, Ok(())) => {}
                Arrived::GroupClosed(closed) => self.closed = Some(closed),
                Arrived::Ended(Ok(())) => return None,
                Arrived::Ended(Err(status)) => return Some(Err(status)),
            }
        }
    }
}
