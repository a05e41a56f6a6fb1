//! The description of the API in OpenAPI's form, made from the table of routes.

use super::answer::document;
use super::authenticate::TOKEN_HEADER;
use super::call::Call;
use super::parameters::{Form, Parameter};
use super::route::{Access, Answer, Route};
use crate::cli::version;
use crate::limits;
use axum::http::Method;
use serde_json::{Map, Value, json};

/// `GET openapi.json`
pub async fn show(call: Call) -> Answer {
    let mut paths = Map::new();
    for route in call.api.routes {
        let path = paths.entry(format!("/{}", route.path)).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    Ok(document(&json!({
        "openapi": "3.1.0",
        "info": {"title": "MIG", "version": version(), "description": "Answers are Collection+JSON."},
        "servers": [{"url": format!("{}{}", call.api.config.host, call.api.config.base_route)}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "signature": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER},
                "session": {"type": "http", "scheme": "bearer"},
            },
            "schemas": {"Collection": collection()},
        },
    })))
}

fn schema(form: Form) -> Value {
    match form {
        Form::Id => json!({"type": "integer", "format": "int64", "minimum": 1, "maximum": limits::ID_ACCEPTED_MAX}),
        Form::Number(max) => json!({"type": "integer", "minimum": 0, "maximum": max}),
        Form::Text(bytes_max) => json!({"type": "string", "maxLength": bytes_max}),
        Form::Pattern => json!({"type": "string", "maxLength": limits::API_PATTERN_BYTES_MAX}),
        Form::Time => json!({"type": "string", "format": "date-time"}),
        Form::Flag => json!({"type": "boolean"}),
        Form::Word(words) => json!({"type": "string", "enum": words}),
    }
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name, "in": "query", "required": parameter.is_required, "description": parameter.about,
        "schema": schema(parameter.form),
    })
}

/// The forms in which a body is accepted.
fn body(parameters: &[Parameter]) -> Value {
    let properties: Map<String, Value> =
        parameters.iter().map(|parameter| (parameter.name.to_owned(), schema(parameter.form))).collect();
    let required: Vec<&str> = parameters.iter().filter(|one| one.is_required).map(|one| one.name).collect();
    let form = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    json!({
        "required": !required.is_empty(),
        "content": {
            "application/x-www-form-urlencoded": {"schema": form},
            "multipart/form-data": {"schema": form},
        },
    })
}

/// The type of an answer that is no collection.
fn content_type(path: &str) -> Option<&'static str> {
    match path {
        "ip" => Some("text/plain"),
        "action/events" => Some("text/event-stream"),
        "openapi.json" => Some("application/json"),
        _ => None,
    }
}

fn operation(route: &Route) -> Value {
    let collection = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Collection"}}});
    let mut statuses: Vec<u16> = route.statuses.to_vec();
    statuses.extend([400, 413, 500, 503]);
    if route.access != Access::Open {
        statuses.extend([401, 403]);
    }
    let mut responses = Map::new();
    for status in statuses {
        let content = match content_type(route.path).filter(|_| status < 300) {
            Some("application/json") => json!({"application/json": {"schema": {"type": "object"}}}),
            Some(other) => json!({other: {"schema": {"type": "string"}}}),
            None => collection.clone(),
        };
        let reason = axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        responses.insert(status.to_string(), json!({"description": reason.unwrap_or_default(), "content": content}));
    }
    let mut operation = json!({"summary": route.about, "responses": responses});
    match route.access {
        Access::Open => operation["security"] = json!([]),
        Access::Investigators => operation["security"] = json!([{"signature": []}, {"session": []}]),
        Access::SignedToken => operation["security"] = json!([{"signature": []}]),
    }
    if route.method == Method::POST {
        operation["requestBody"] = body(route.parameters);
    } else {
        operation["parameters"] = route.parameters.iter().map(parameter).collect();
    }
    operation
}

fn collection() -> Value {
    let link = json!({
        "type": "object", "required": ["rel", "href"],
        "properties": {"rel": {"type": "string"}, "href": {"type": "string"}},
    });
    let item = json!({
        "type": "object", "required": ["href", "data"],
        "properties": {
            "href": {"type": "string"},
            "data": {"type": "array", "items": {
                "type": "object", "required": ["name", "value"],
                "properties": {"name": {"type": "string"}, "value": {}},
            }},
            "links": {"type": "array", "items": link},
        },
    });
    json!({
        "type": "object", "required": ["collection"],
        "properties": {"collection": {
            "type": "object", "required": ["version", "href", "template", "error"],
            "properties": {
                "version": {"const": "1.0"},
                "href": {"type": "string"},
                "items": {"type": "array", "items": item},
                "links": {"type": "array", "items": link},
                "template": {"type": "object"},
                "error": {"type": "object", "properties": {
                    "code": {"type": "string"}, "message": {"type": "string"},
                }},
            },
        }},
    })
}
