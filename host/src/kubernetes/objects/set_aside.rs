//! Before Redis starts on a volume, the files of its former run are kept beside it: what a later `follow`
//! replaces is not gone. Hard links, so they take no space until Redis replaces the originals.
//!
//! What it covers: data that was on the disk when the Pod started, above all after a restart of many, where a
//! member may have to give up data that nothing proves to be contained elsewhere. Not covered: what a running
//! master wrote since its last save.
//!
//! 1. A set is a folder of `/data/set-aside`, named by the moment of the start.
//! 2. A start whose files are the newest set's makes no new one: a crash loop pushes nothing out.
//! 3. Bounds: `setAside` sets, and a quarter of the volume; the oldest go first.
//! 4. It never keeps Redis from starting: whatever fails is said in the container's message, with what is
//!    kept. `kubectl redis explain` shows it.

use super::pod::{DATA_PATH, container, data_volume};
use crate::kubernetes::crd::Redis;
use k8s_openapi::api::core::v1::{Container, VolumeMount};

/// The name of the container.
pub const SET_ASIDE: &str = "set-aside";

/// The container that keeps them. None: nothing survives a restart of the Pod, or the user wants none.
pub fn set_aside(redis: &Redis) -> Option<Container> {
    let spec = &redis.spec;
    if spec.data_volume_claim_template.is_none() || spec.set_aside == 0 {
        return None;
    }
    let mount =
        VolumeMount { name: data_volume(redis), mount_path: DATA_PATH.into(), ..VolumeMount::default() };
    let words = ["sh", "-c", SCRIPT, SET_ASIDE, DATA_PATH, &spec.set_aside.to_string()];
    Some(Container {
        name: SET_ASIDE.into(),
        command: Some(words.map(str::to_owned).into()),
        volume_mounts: Some(vec![mount]),
        ..container(redis, &spec.redis)
    })
}

/// For any POSIX shell with the usual tools, busybox included. $1: the volume; $2: how many sets.
const SCRIPT: &str = r#"
cd "$1" || exit 0
keep="$2"
sets() { ls -1 set-aside 2>/dev/null | sort; }
say() { printf '%s\n' "$*" >>/dev/termination-log; printf '%s\n' "$*"; }
newest=$(sets | tail -n 1)
fresh=''
for file in *.rdb *.aof appendonlydir/*; do
  [ -f "$file" ] || continue
  [ -n "$newest" ] && [ "$file" -ef "set-aside/$newest/$file" ] || fresh=yes
done
if [ -n "$fresh" ]; then
  now=$(date -u +%Y%m%dT%H%M%SZ)
  for file in *.rdb *.aof appendonlydir/*; do
    [ -f "$file" ] || continue
    mkdir -p "set-aside/$now/$(dirname "$file")" && ln "$file" "set-aside/$now/$file" ||
      say "$file could not be kept"
  done
fi
while [ "$(sets | wc -l)" -gt "$keep" ]; do rm -rf "set-aside/$(sets | head -n 1)" || break; done
quarter=$(df -Pk . | awk 'NR == 2 { print int($2 / 4) }')
while [ -n "$(sets)" ] && [ "$(du -sk set-aside | cut -f 1)" -gt "$quarter" ]; do
  oldest=$(sets | head -n 1)
  rm -rf "set-aside/$oldest" || break
  say "$oldest was dropped: the sets exceeded a quarter of the volume"
done
for set in $(sets); do say "$set $(du -sk "set-aside/$set" | cut -f 1) KiB"; done
exit 0
"#;
