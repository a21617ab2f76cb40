//! JSON Schema draft 7, as far as the schemas of SBOMs use it; a keyword that nobody wrote down here is an error.

use regex::Regex;
use serde_json::Value;

/// Keywords that say nothing about whether a document is valid.
const SILENT: [&str; 11] = [
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "definitions",
    "format",
    "deprecated",
    "meta:enum",
];

/// Returns what is wrong with `value`, each with its place.
pub(crate) fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    check(schema, schema, value, "", &mut errors);
    errors
}

fn is_valid(root: &Value, schema: &Value, value: &Value) -> bool {
    let mut errors = Vec::new();
    check(root, schema, value, "", &mut errors);
    errors.is_empty()
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
    let Some(rules) = schema.as_object() else {
        if schema == &Value::Bool(false) {
            errors.push(format!("{at}: nothing may be here"));
        }
        return;
    };
    if let Some(reference) = rules.get("$ref").and_then(Value::as_str) {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{at}: {reference} is not here"));
        let target = root.pointer(pointer).unwrap_or_else(|| panic!("{at}: {reference} leads nowhere"));
        return check(root, target, value, at, errors);
    }
    for (keyword, rule) in rules {
        let wrong = match keyword.as_str() {
            "type" => !is_type(rule, value),
            "enum" => !list(rule).contains(value),
            "const" => rule != value,
            "pattern" => {
                let pattern = Regex::new(rule.as_str().expect("a pattern")).expect("a regular expression");
                value.as_str().is_some_and(|text| !pattern.is_match(text))
            }
            "minLength" => value.as_str().is_some_and(|text| text.chars().count() < size(rule)),
            "maxLength" => value.as_str().is_some_and(|text| text.chars().count() > size(rule)),
            "minimum" => value.as_f64().is_some_and(|number| number < rule.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_some_and(|number| number > rule.as_f64().expect("a number")),
            "minItems" => value.as_array().is_some_and(|items| items.len() < size(rule)),
            "maxItems" => value.as_array().is_some_and(|items| items.len() > size(rule)),
            "uniqueItems" => value.as_array().is_some_and(|items| {
                let mut texts: Vec<String> = items.iter().map(Value::to_string).collect();
                texts.sort();
                texts.windows(2).any(|pair| pair[0] == pair[1])
            }),
            "required" => value
                .as_object()
                .is_some_and(|map| list(rule).iter().any(|key| !map.contains_key(key.as_str().expect("a name")))),
            "oneOf" => list(rule).iter().filter(|schema| is_valid(root, schema, value)).count() != 1,
            "anyOf" => !list(rule).iter().any(|schema| is_valid(root, schema, value)),
            "allOf" => !list(rule).iter().all(|schema| is_valid(root, schema, value)),
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = rule.get(key) {
                        check(root, schema, value, &format!("{at}/{key}"), errors);
                    }
                }
                false
            }
            "additionalProperties" => {
                let known = |key: &str| rules.get("properties").is_some_and(|known| known.get(key).is_some());
                for (key, value) in value.as_object().into_iter().flatten().filter(|(key, _)| !known(key)) {
                    check(root, rule, value, &format!("{at}/{key}"), errors);
                }
                false
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    let each = rule.as_array().map_or(Some(rule), |schemas| schemas.get(index));
                    let schema = each.or(rules.get("additionalItems")).unwrap_or(&Value::Bool(true));
                    check(root, schema, value, &format!("{at}/{index}"), errors);
                }
                false
            }
            "additionalItems" => false,
            silent if SILENT.contains(&silent) => false,
            unknown => panic!("{at}: keyword `{unknown}` is not known here"),
        };
        if wrong {
            errors.push(format!("{at}: {keyword} {rule:.80}"));
        }
    }
}

fn is_type(rule: &Value, value: &Value) -> bool {
    let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
    types.iter().any(|kind| match kind.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        unknown => panic!("type `{unknown}`"),
    })
}

fn list(rule: &Value) -> &Vec<Value> {
    rule.as_array().expect("a list")
}

fn size(rule: &Value) -> usize {
    usize::try_from(rule.as_u64().expect("a size")).expect("a size")
}
