//! Identities and verifiers that change while an application runs.

use slim_auth::{Identity, Verifier};
use slim_proto::Now;

use super::Hub;
use crate::error::Error;
use crate::identity::KeyQuestions;
use crate::request::AppKey;

impl Hub {
    /// Judges peers with this verifier; questions for keys go to its task, if it has one, and to no earlier one.
    pub(in crate::driver) fn use_verifier(
        &mut self,
        now: Now,
        key: AppKey,
        verifier: Verifier,
        keys: Option<KeyQuestions>,
    ) -> Result<(), Error> {
        let app = self.apps.get_mut(&key).ok_or(Error::Closed)?;
        app.keys = keys;
        app.endpoint.use_verifier(now, verifier);
        self.drain_app(now, key);
        self.settle(now);
        Ok(())
    }

    /// The application's task brought keys. One that was replaced meanwhile is not listened to.
    pub(in crate::driver) fn keys_fetched(
        &mut self,
        now: Now,
        key: AppKey,
        fetcher: u64,
        verifier: Verifier,
    ) {
        let Some(app) = self.apps.get_mut(&key) else {
            return;
        };
        if app.keys.as_ref().is_some_and(|keys| keys.fetcher == fetcher) {
            app.endpoint.use_verifier(now, verifier);
            self.drain_app(now, key);
            self.settle(now);
        }
    }

    /// Proves who the application is in another way; who it is stays.
    pub(in crate::driver) fn use_identity(
        &mut self,
        now: Now,
        key: AppKey,
        identity: Identity,
    ) -> Result<(), Error> {
        let app = self.apps.get_mut(&key).ok_or(Error::Closed)?;
        app.endpoint.use_identity(now, identity)?;
        self.drain_app(now, key);
        self.settle(now);
        Ok(())
    }
}
