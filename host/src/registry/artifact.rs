//! A component as an OCI artifact, in the layout that the CNCF's Wasm working group has agreed on: one
//! manifest, one configuration, one layer. So wkg and others read what we push, and the other way round.

use super::digest;
use super::http::FetchError;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::json;

/// What is pushed.
pub struct Artifact {
    pub config: Bytes,
    pub component: Bytes,
    pub manifest: Bytes,
}

impl Artifact {
    /// Of a component with these exports. Equal components make equal artifacts, down to the digest.
    pub fn of(component: &[u8], exports: &[String]) -> Self {
        let layer = digest(component);
        let config = json!({
            // The specification wants a time, and the same component must be the same artifact whenever it is pushed.
            "created": "1970-01-01T00:00:00Z",
            "architecture": "wasm",
            // What the layout calls components; this one imports nothing of WASI.
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

/// What is pulled first.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

/// What a manifest says of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    media_type: String,
    pub digest: String,
    pub size: usize,
}

impl Manifest {
    pub fn read(bytes: &[u8]) -> Result<Self, FetchError> {
        serde_json::from_slice(bytes)
            .map_err(|error| FetchError::NoComponent(format!("its manifest is not understood: {error}")))
    }

    /// The one layer that is a component.
    pub fn component(&self, bytes_max: usize) -> Result<Layer, FetchError> {
        let found: Vec<&Layer> = self.layers.iter().filter(|layer| layer.media_type == LAYER_TYPE).collect();
        let types =
            || self.layers.iter().map(|layer| layer.media_type.as_str()).collect::<Vec<_>>().join(", ");
        match found[..] {
            [layer] if layer.size <= bytes_max => Ok(layer.clone()),
            [_] => Err(FetchError::NoComponent(format!("it has more than {bytes_max} bytes"))),
            [] if self.layers.is_empty() => Err(FetchError::NoComponent("it has no layers".into())),
            [] => Err(FetchError::NoComponent(format!("its layers are {}, none {LAYER_TYPE}", types()))),
            [..] => Err(FetchError::NoComponent(format!("it has {} layers of {LAYER_TYPE}", found.len()))),
        }
    }
}

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";
/// What registries take at most (OCI distribution specification).
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_what_is_pulled_and_the_same_every_time() {
        let (one, other) =
            (Artifact::of(b"component", &["a".into()]), Artifact::of(b"component", &["a".into()]));
        assert_eq!((&one.config, &one.manifest), (&other.config, &other.manifest));
        let layer = Manifest::read(&one.manifest).unwrap().component(9).unwrap();
        assert_eq!((layer.digest, layer.size), (digest(b"component"), 9));
    }

    #[test]
    fn other_artifacts_are_refused_by_what_they_are() {
        let refusal = |manifest: &str| {
            Manifest::read(manifest.as_bytes())
                .and_then(|manifest| manifest.component(8))
                .unwrap_err()
                .to_string()
        };
        let layer = |kind: &str, size: u8| {
            format!(r#"{{"mediaType": "{kind}", "digest": "sha256:0", "size": {size}}}"#)
        };
        assert!(refusal("no json").contains("not understood"));
        assert!(refusal(r#"{"manifests": []}"#).contains("no layers"));
        assert!(
            refusal(&format!(r#"{{"layers": [{}]}}"#, layer("application/gzip", 1)))
                .contains("application/gzip")
        );
        assert!(
            refusal(&format!(r#"{{"layers": [{}]}}"#, layer(LAYER_TYPE, 9))).contains("more than 8 bytes")
        );
        assert!(refusal(&format!(r#"{{"layers": [{0}, {0}]}}"#, layer(LAYER_TYPE, 1))).contains("2 layers"));
    }
}
