//! PostgreSQL and RabbitMQ: what every store and every relay promises, and what is promised over these servers only. Run with
//! `scripts/servers.sh run cargo test --release --test servers`.

mod at_scale;
mod broker_setup;
mod catalog_contract;
#[path = "../common/mod.rs"]
mod common;
mod postgres;
mod proxies;
mod relay_contract;
mod relay_refusals;
mod store_contract;
