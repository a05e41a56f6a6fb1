//! The fleet: the dashboard, single agents; and what needs no store.

use super::answer::{Collection, Item, Template};
use super::call::Call;
use super::error::ApiError;
use super::route::Answer;
use super::search::row;
use crate::id::AgentId;
use crate::store::catalog::{Found, Kind, Page, Search, VersionCount};
use crate::time;
use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;

/// Actions on the dashboard.
const LAST_ACTIONS: usize = 10;

/// `GET /`
pub async fn home(call: Call) -> Answer {
    let mut collection = Collection::new(call.href.clone());
    for route in call.api.routes.iter().filter(|route| route.method == Method::GET && !route.path.is_empty()) {
        let item = Item::new(call.api.href(route.path)).with(route.path.trim_end_matches('/'), &route.about)?;
        collection = collection.item(item);
    }
    Ok(collection.response(StatusCode::OK))
}

/// `GET heartbeat`
pub async fn heartbeat(call: Call) -> Answer {
    let href = format!("{}/heartbeat", call.api.config.base_route);
    let item = Item::new(href).with("heartbeat", &"gatorz say hi")?;
    Ok(Collection::new(call.href).item(item).response(StatusCode::OK))
}

/// `GET ip`
pub async fn ip(call: Call) -> Answer {
    let mut response = Response::new(Body::from(call.address.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// The template of a form: what the route with this path wants.
pub async fn template(call: Call, path: &'static str) -> Answer {
    let form = call.api.routes.iter().find(|route| route.path == path && route.method == Method::POST);
    let parameters = form.map_or(&[][..], |route| route.parameters);
    let template = Template::of(parameters.iter().map(|parameter| (parameter.name, parameter.about)));
    Ok(Collection::new(call.href).template(template).response(StatusCode::OK))
}

/// `GET agent`
pub async fn show(call: Call) -> Answer {
    let id = call.values.id("agentid", AgentId::new)?;
    let agent = call.with(move |store| Ok(store.agent(id)?)).await?;
    let agent = agent.ok_or_else(|| ApiError::not_found(format!("agent {id} not found")))?;
    let item = row(&call.api, &Found::Agent(Box::new(agent)))?;
    Ok(Collection::new(call.href).item(item).response(StatusCode::OK))
}

/// `GET dashboard`
pub async fn dashboard(call: Call) -> Answer {
    let (counts, actions) = call
        .with(|store| {
            let page = Page { count: LAST_ACTIONS, ..Page::default() };
            Ok((store.dashboard(time::now())?, store.search(&Search::all(Kind::Action), page)?))
        })
        .await?;
    // Programs of the original write null for no versions.
    let versions = |versions: &Vec<VersionCount>| (!versions.is_empty()).then(|| versions.clone());
    let item = Item::new(call.href.clone())
        .with("online agents", &counts.online_agents)?
        .with("online agents by version", &versions(&counts.online_agents_by_version))?
        .with("online endpoints", &counts.online_endpoints)?
        .with("idle agents", &counts.idle_agents)?
        .with("idle agents by version", &versions(&counts.idle_agents_by_version))?
        .with("idle endpoints", &counts.idle_endpoints)?
        .with("new endpoints", &counts.new_endpoints)?
        .with("endpoints running 2 or more agents", &counts.multi_agents_endpoints)?
        .with("disappeared endpoints", &counts.disappeared_endpoints)?
        .with("flapping endpoints", &counts.flapping_endpoints)?;
    let mut collection = Collection::new(call.href).item(item);
    for action in &actions.rows {
        collection = collection.item(row(&call.api, action)?);
    }
    Ok(collection.response(StatusCode::OK))
}
