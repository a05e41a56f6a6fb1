//! Who may use the API: investigators, and the tokens by which requests are recognized.
//!
//! A token is kept as a hash: who reads the store cannot use it.

use crate::failure::Failure;
use crate::id::InvestigatorId;
use crate::investigator::Investigator;
use crate::time::Timestamp;
use serde::Serialize;

/// Whether an investigator's signature counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InvestigatorStatus {
    /// It does.
    Active,
    /// It does not.
    Disabled,
}

impl InvestigatorStatus {
    /// The word in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            InvestigatorStatus::Active => "active",
            InvestigatorStatus::Disabled => "disabled",
        }
    }

    /// Reads [`InvestigatorStatus::as_str`] back.
    pub fn parse(text: &str) -> Option<InvestigatorStatus> {
        [InvestigatorStatus::Active, InvestigatorStatus::Disabled].into_iter().find(|status| status.as_str() == text)
    }
}

/// An investigator as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredInvestigator {
    /// Its id.
    pub id: InvestigatorId,
    /// The name.
    pub name: String,
    /// The certificate's fingerprint.
    #[serde(rename = "pgpfingerprint")]
    pub fingerprint: String,
    /// The certificate, armored; not where an investigator is part of something else.
    #[serde(skip)]
    pub public_key: String,
    /// Whether signatures count.
    pub status: InvestigatorStatus,
    /// When it was added.
    #[serde(rename = "createdat")]
    pub created: Timestamp,
    /// When it was changed.
    #[serde(rename = "lastmodified")]
    pub modified: Timestamp,
}

impl StoredInvestigator {
    /// Builds it from its row; None if the id or the status is invalid.
    pub(super) fn stored(
        id: i64,
        [name, fingerprint, public_key, status]: [String; 4],
        [created, modified]: [Timestamp; 2],
    ) -> Option<StoredInvestigator> {
        let (id, status) = (InvestigatorId::new(id as u64)?, InvestigatorStatus::parse(&status)?);
        Some(StoredInvestigator { id, name, fingerprint, public_key, status, created, modified })
    }
}

/// What became of a new investigator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is stored, active.
    New(InvestigatorId),
    /// Its key was stored before; nothing changed.
    Known(InvestigatorId),
}

/// The hash of a token.
pub type TokenHash = [u8; 32];

/// See the module docs. The suite of [`super::catalog::Catalog`] runs against every implementation.
pub trait Accounts: Send {
    /// Looks up an investigator.
    fn investigator(&mut self, id: InvestigatorId) -> Result<Option<StoredInvestigator>, Failure>;

    /// Changes whenever an investigator was added or changed.
    fn investigators_version(&mut self) -> Result<String, Failure>;

    /// Returns all investigators, also those that are disabled; not the schedulers' own.
    fn investigators(&mut self) -> Result<Vec<StoredInvestigator>, Failure>;

    /// Adds an investigator.
    fn add_investigator(&mut self, investigator: &Investigator, now: Timestamp) -> Result<Added, Failure>;

    /// Changes an investigator's status; false if there is none. Sessions of one that is disabled end.
    fn set_status(&mut self, id: InvestigatorId, status: InvestigatorStatus, now: Timestamp) -> Result<bool, Failure>;

    /// Records that a signed token is used; false if it was used before. It is remembered until it expires.
    fn use_once(&mut self, token: &TokenHash, expires: Timestamp, now: Timestamp) -> Result<bool, Failure>;

    /// Begins a session of an investigator.
    fn begin_session(
        &mut self,
        token: &TokenHash,
        id: InvestigatorId,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<(), Failure>;

    /// Returns the active investigator of a session that has not expired.
    fn find_session(&mut self, token: &TokenHash, now: Timestamp) -> Result<Option<InvestigatorId>, Failure>;

    /// Ends a session.
    fn end_session(&mut self, token: &TokenHash) -> Result<(), Failure>;
}
