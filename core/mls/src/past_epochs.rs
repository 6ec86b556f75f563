//! Secrets of the last few epochs, so that messages sent just before a commit still open just after it.
//!
//! The library wants a storage; this one is a plain value inside its group. Copying a group copies it, which is
//! what makes failed operations undoable. It keeps no group state: nothing here outlives the process.

use std::collections::VecDeque;
use std::convert::Infallible;

use mls_rs::GroupStateStorage;
use mls_rs_core::group::{EpochRecord, GroupState};
use slim_proto::limits::PAST_EPOCHS_MAX;
use zeroize::Zeroizing;

#[derive(Clone, Debug, Default)]
pub(crate) struct PastEpochs(VecDeque<EpochRecord>);

impl GroupStateStorage for PastEpochs {
    type Error = Infallible;

    fn state(&self, _group_id: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Self::Error> {
        Ok(None)
    }

    fn epoch(&self, _group_id: &[u8], epoch_id: u64) -> Result<Option<Zeroizing<Vec<u8>>>, Self::Error> {
        let record = self.0.iter().find(|record| record.id == epoch_id);
        Ok(record.map(|record| record.data.clone()))
    }

    fn write(
        &mut self,
        _state: GroupState,
        inserts: Vec<EpochRecord>,
        updates: Vec<EpochRecord>,
    ) -> Result<(), Self::Error> {
        for update in updates {
            if let Some(record) = self.0.iter_mut().find(|record| record.id == update.id) {
                *record = update;
            }
        }
        self.0.extend(inserts);
        while self.0.len() > PAST_EPOCHS_MAX {
            self.0.pop_front();
        }
        Ok(())
    }

    fn max_epoch_id(&self, _group_id: &[u8]) -> Result<Option<u64>, Self::Error> {
        Ok(self.0.back().map(|record| record.id))
    }
}
