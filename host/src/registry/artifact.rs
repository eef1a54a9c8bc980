//! A component as an OCI artifact, in the layout of the CNCF's Wasm working group: one manifest, one
//! configuration, one layer. wkg and other tools read what the operator pushes, and the other way round.

use super::digest;
use super::http::FetchError;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::json;

/// The blobs of a push.
pub struct Artifact {
    pub config: Bytes,
    pub component: Bytes,
    pub manifest: Bytes,
}

impl Artifact {
    /// For a component with these exports. Equal components give equal artifacts, down to the digest.
    pub fn of(component: &[u8], exports: &[String]) -> Self {
        let layer = digest(component);
        let config = json!({
            // The specification requires a time; a constant one keeps the artifact of a component equal.
            "created": "1970-01-01T00:00:00Z",
            "architecture": "wasm",
            // The layout's word for components; this one imports nothing of WASI.
            "os": "wasip2",
            "layerDigests": [layer],
            "component": { "exports": exports, "imports": [] },
        });
        let config = Bytes::from(config.to_string());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": { "mediaType": CONFIG_TYPE, "digest": digest(&config), "size": config.len() },
            "layers": [{ "mediaType": LAYER_TYPE, "digest": layer, "size": component.len() }],
        });
        Self {
            config,
            component: Bytes::copy_from_slice(component),
            manifest: Bytes::from(manifest.to_string()),
        }
    }
}

/// The manifest, which is pulled first.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

/// The description of a blob in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    media_type: String,
    pub digest: String,
    pub size: usize,
}

impl Manifest {
    pub fn read(bytes: &[u8]) -> Result<Self, FetchError> {
        // The parser's own words would show what the server sent.
        serde_json::from_slice(bytes).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            FetchError::NoComponent(format!("its manifest cannot be parsed ({place})"))
        })
    }

    /// The only layer with a component.
    pub fn component(&self, bytes_max: usize) -> Result<Layer, FetchError> {
        let found: Vec<&Layer> = self.layers.iter().filter(|layer| layer.media_type == LAYER_TYPE).collect();
        match found[..] {
            [layer] if layer.size <= bytes_max => Ok(layer.clone()),
            [_] => Err(FetchError::NoComponent(format!("it has more than {bytes_max} bytes"))),
            [] if self.layers.is_empty() => Err(FetchError::NoComponent("it has no layers".into())),
            [] => Err(FetchError::NoComponent(format!(
                "none of its {} layers is of the type {LAYER_TYPE}",
                self.layers.len()
            ))),
            [..] => Err(FetchError::NoComponent(format!("it has {} layers of {LAYER_TYPE}", found.len()))),
        }
    }
}

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";
/// The limit of registries (OCI distribution specification).
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pushed_component_is_pulled_unchanged_and_its_artifact_is_always_equal() {
        let (one, other) =
            (Artifact::of(b"component", &["a".into()]), Artifact::of(b"component", &["a".into()]));
        assert_eq!((&one.config, &one.manifest), (&other.config, &other.manifest));
        let layer = Manifest::read(&one.manifest).unwrap().component(9).unwrap();
        assert_eq!((layer.digest, layer.size), (digest(b"component"), 9));
    }

    #[test]
    fn other_artifacts_are_refused_with_what_they_contain() {
        let refusal = |manifest: &str| {
            Manifest::read(manifest.as_bytes())
                .and_then(|manifest| manifest.component(8))
                .unwrap_err()
                .to_string()
        };
        let layer = |kind: &str, size: u8| {
            format!(r#"{{"mediaType": "{kind}", "digest": "sha256:0", "size": {size}}}"#)
        };
        assert!(refusal("no json").contains("cannot be parsed"));
        assert!(refusal(r#"{"manifests": []}"#).contains("no layers"));
        let other = refusal(&format!(r#"{{"layers": [{}]}}"#, layer("application/gzip", 1)));
        assert!(other.contains("none of its 1 layers") && !other.contains("gzip"), "{other}");
        assert!(
            refusal(&format!(r#"{{"layers": [{}]}}"#, layer(LAYER_TYPE, 9))).contains("more than 8 bytes")
        );
        assert!(refusal(&format!(r#"{{"layers": [{0}, {0}]}}"#, layer(LAYER_TYPE, 1))).contains("2 layers"));
    }
}
