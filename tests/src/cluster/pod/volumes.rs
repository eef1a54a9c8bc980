//! A Pod's volumes as folders of this machine, kept as their ConfigMaps, Secrets and fields are. A changed
//! volume is swapped in one step, as a kubelet's: `key -> ..data/key`, `..data -> ..<number>`.

use super::environment::field_of;
use crate::cluster::config::{Config, Entries, or_empty};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, PersistentVolume, PersistentVolumeClaim, Pod, ProjectedVolumeSource,
    ServiceAccount, ServiceAccountTokenProjection, Volume,
};
use kube::api::PostParams;
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The folders by the volumes' names.
pub(super) struct Volumes {
    client: Client,
    dir: PathBuf,
    tokens: BTreeMap<String, String>,
    claims: BTreeMap<String, PathBuf>,
    written: BTreeMap<String, Files>,
    numbers: std::ops::RangeFrom<u32>,
}

/// Contents and mode by path.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

impl Volumes {
    pub(super) fn new(client: Client, dir: PathBuf) -> Self {
        Self {
            client,
            dir,
            tokens: BTreeMap::new(),
            claims: BTreeMap::new(),
            written: BTreeMap::new(),
            numbers: 1..,
        }
    }

    /// Makes them, or brings them up to date.
    ///
    /// # Errors
    /// When one cannot be had yet.
    pub(super) async fn refresh(
        &mut self,
        pod: &Pod,
        address: &str,
        config: &Config,
    ) -> Result<BTreeMap<String, PathBuf>> {
        let mut folders = BTreeMap::new();
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let place = self
                .folder_of(volume, pod, address, config)
                .await
                .with_context(|| format!("volume {}", volume.name))?;
            folders.insert(volume.name.clone(), place);
        }
        Ok(folders)
    }

    async fn folder_of(
        &mut self,
        volume: &Volume,
        pod: &Pod,
        address: &str,
        config: &Config,
    ) -> Result<PathBuf> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let own = self.dir.join(&volume.name);
        fs::create_dir_all(&own)?;
        let files = if let Some(map) = &volume.config_map {
            let entries = or_empty(config.config_map(namespace, &map.name), map.optional)?;
            select(&entries, map.items.as_deref(), map.default_mode)?
        } else if let Some(secret) = &volume.secret {
            let entries = or_empty(
                config.secret(namespace, secret.secret_name.as_deref().unwrap_or_default()),
                secret.optional,
            )?;
            select(&entries, secret.items.as_deref(), secret.default_mode)?
        } else if let Some(downward) = &volume.downward_api {
            fields(downward.items.as_deref(), pod, address, downward.default_mode)?
        } else if let Some(projected) = &volume.projected {
            self.projected(projected, pod, address, config).await?
        } else if let Some(claim) = &volume.persistent_volume_claim {
            return self.claimed(namespace, &claim.claim_name).await;
        } else if let Some(host) = &volume.host_path {
            return Ok(PathBuf::from(&host.path));
        } else if volume.empty_dir.is_some() {
            return Ok(own);
        } else {
            bail!("volumes of this kind are not served here");
        };
        if self.written.get(&volume.name) != Some(&files) {
            swap(&own, &files, self.numbers.next().context("few changes")?)?;
            self.written.insert(volume.name.clone(), files);
        }
        Ok(own)
    }

    async fn projected(
        &mut self,
        projected: &ProjectedVolumeSource,
        pod: &Pod,
        address: &str,
        config: &Config,
    ) -> Result<Files> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let mode = projected.default_mode;
        let mut files = Files::new();
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                let entries = or_empty(config.config_map(namespace, &map.name), map.optional)?;
                files.extend(select(&entries, map.items.as_deref(), mode)?);
            } else if let Some(secret) = &source.secret {
                let entries = or_empty(config.secret(namespace, &secret.name), secret.optional)?;
                files.extend(select(&entries, secret.items.as_deref(), mode)?);
            } else if let Some(downward) = &source.downward_api {
                files.extend(fields(downward.items.as_deref(), pod, address, mode)?);
            } else if let Some(token) = &source.service_account_token {
                files.insert(
                    token.path.clone(),
                    (self.token(token, pod).await?.into_bytes(), mode_of(None, mode)),
                );
            } else {
                bail!("projections of this kind are not served here");
            }
        }
        Ok(files)
    }

    /// Asked for once: the API server extends such tokens to a year, and no cluster of the tests gets as old.
    async fn token(&mut self, wanted: &ServiceAccountTokenProjection, pod: &Pod) -> Result<String> {
        if let Some(token) = self.tokens.get(&wanted.path) {
            return Ok(token.clone());
        }
        let name =
            pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let accounts: Api<ServiceAccount> =
            Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
        let token = token_of(&accounts, name, wanted.audience.clone(), wanted.expiration_seconds).await?;
        self.tokens.insert(wanted.path.clone(), token.clone());
        Ok(token)
    }

    async fn claimed(&mut self, namespace: &str, claim: &str) -> Result<PathBuf> {
        if let Some(place) = self.claims.get(claim) {
            return Ok(place.clone());
        }
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let name = claims
            .get(claim)
            .await?
            .spec
            .and_then(|spec| spec.volume_name)
            .with_context(|| format!("claim {claim} is not bound"))?;
        let volume = Api::<PersistentVolume>::all(self.client.clone()).get(&name).await?;
        let path = volume.spec.and_then(|spec| spec.host_path).context("a volume that is no hostPath")?.path;
        fs::create_dir_all(&path)?;
        self.claims.insert(claim.to_owned(), path.clone().into());
        Ok(path.into())
    }
}

/// A token of a service account.
pub(in crate::cluster) async fn token_of(
    accounts: &Api<ServiceAccount>,
    name: &str,
    audience: Option<String>,
    expiration_seconds: Option<i64>,
) -> Result<String> {
    let spec = TokenRequestSpec {
        audiences: audience.into_iter().collect(),
        expiration_seconds,
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
    Ok(answer.status.context("a token without a status")?.token)
}

/// All entries, or those that are named, where they are wanted.
fn select(entries: &Entries, items: Option<&[KeyToPath]>, mode: Option<i32>) -> Result<Files> {
    let Some(items) = items else {
        return Ok(entries
            .iter()
            .map(|(key, bytes)| (key.clone(), (bytes.clone(), mode_of(None, mode))))
            .collect());
    };
    let mut files = Files::new();
    for item in items {
        let bytes =
            entries.get(&item.key).with_context(|| format!("references non-existent key: {}", item.key))?;
        files.insert(item.path.clone(), (bytes.clone(), mode_of(item.mode, mode)));
    }
    Ok(files)
}

fn fields(
    items: Option<&[DownwardAPIVolumeFile]>,
    pod: &Pod,
    address: &str,
    mode: Option<i32>,
) -> Result<Files> {
    let mut files = Files::new();
    for item in items.into_iter().flatten() {
        let field = item.field_ref.as_ref().context("resourceFieldRef is not served here")?;
        let value = field_of(pod, address, &field.field_path)?;
        files.insert(item.path.clone(), (value.into_bytes(), mode_of(item.mode, mode)));
    }
    Ok(files)
}

fn mode_of(own: Option<i32>, default: Option<i32>) -> u32 {
    own.or(default).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644)
}

fn swap(folder: &Path, files: &Files, number: u32) -> Result<()> {
    let name = format!("..{number}");
    for (path, (bytes, mode)) in files {
        let file = folder.join(&name).join(path);
        fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
        fs::write(&file, bytes)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode))?;
    }
    fs::create_dir_all(folder.join(&name))?;
    let (data, next) = (folder.join("..data"), folder.join("..data_tmp"));
    let old = fs::read_link(&data).ok();
    symlink(&name, &next)?;
    fs::rename(&next, &data)?;
    let tops: std::collections::BTreeSet<&str> =
        files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(folder)? {
        let entry = entry?.file_name();
        let entry = entry.to_string_lossy();
        if !entry.starts_with("..") && !tops.contains(&*entry) {
            fs::remove_file(folder.join(&*entry))?;
        }
    }
    for top in tops.iter().filter(|top| fs::symlink_metadata(folder.join(top)).is_err()) {
        symlink(Path::new("..data").join(top), folder.join(top))?;
    }
    old.map_or(Ok(()), |old| Ok(fs::remove_dir_all(folder.join(old))?))
}
