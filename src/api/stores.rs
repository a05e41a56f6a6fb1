//! The store behind the reactor: a request that needs it gets one of a few, on a thread that may wait.

use super::error::ApiError;
use crate::config::scheduler::StoreConfig;
use crate::error::ProgramError;
use crate::failure::Failure;
use crate::limits;
use crate::store::Store;
use crate::store::accounts::Accounts;
use crate::store::catalog::Catalog;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What the API does with a store. It reserves ids for actions, and writes no action nor command.
pub trait ApiStore: Catalog + Accounts + Store {}

impl<T: Catalog + Accounts + Store> ApiStore for T {}

/// See the module docs.
pub struct Stores {
    config: StoreConfig,
    free: Arc<Mutex<Vec<Box<dyn ApiStore>>>>,
    /// For what may take long.
    long: Arc<Semaphore>,
    /// For what is quick: who asks is known, however many search.
    quick: Arc<Semaphore>,
}

/// Opens a store.
pub fn open(config: &StoreConfig) -> Result<Box<dyn ApiStore>, Failure> {
    Ok(match config {
        StoreConfig::Sqlite(file) => Box::new(SqliteStore::open_for_api(file)?),
        StoreConfig::Postgres(config) => Box::new(PostgresStore::open(config)?),
    })
}

impl Stores {
    /// Opens the first one, and looks at it with `look`.
    pub fn open(
        config: &StoreConfig,
        look: impl FnOnce(&mut dyn ApiStore) -> Result<(), ProgramError>,
    ) -> Result<Stores, ProgramError> {
        let section = match config {
            StoreConfig::Sqlite(_) => "sqlite.file",
            StoreConfig::Postgres(_) => "postgres",
        };
        let mut first = open(config).map_err(|failure| failure.at_start(section))?;
        look(first.as_mut())?;
        let count = match config {
            StoreConfig::Sqlite(_) => limits::API_STORES_MAX,
            StoreConfig::Postgres(config) => limits::API_STORES_MAX.min(config.connections_max as usize),
        };
        Ok(Stores {
            config: config.clone(),
            free: Arc::new(Mutex::new(vec![first])),
            long: Arc::new(Semaphore::new(count.saturating_sub(limits::API_STORES_QUICK).max(1))),
            quick: Arc::new(Semaphore::new(limits::API_STORES_QUICK)),
        })
    }

    /// Runs `work` with a store.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn ApiStore) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.run(&self.long, work).await
    }

    /// The same for what takes a moment.
    pub async fn quick<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn ApiStore) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.run(&self.quick, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        permits: &Arc<Semaphore>,
        work: impl FnOnce(&mut dyn ApiStore) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = timeout(limits::API_STORE_WAIT_MAX, Arc::clone(permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(ApiError::unavailable("all connections to the store are in use"));
        };
        let (free, config) = (Arc::clone(&self.free), self.config.clone());
        let job = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let taken = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut store = taken.map_or_else(|| open(&config), Ok)?;
            let done = work(store.as_mut());
            free.lock().unwrap_or_else(PoisonError::into_inner).push(store);
            done
        });
        job.await.unwrap_or_else(|e| Err(ApiError::internal(format!("a request ended its thread: {e}"))))
    }
}
