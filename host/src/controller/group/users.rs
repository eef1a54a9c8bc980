//! The ACL users of clients: which each running instance should have, and which an instance has from its
//! start on. A server with a line that it does not understand does not start, so the file for starting
//! instances gets only what all running ones took. Calls nothing.

use crate::kubernetes::objects::AclUser;

/// What running instances should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// The declared users. One whose password cannot be read is as it was.
    pub set: Vec<AclUser>,
    /// Users that are declared no more, by name: the file still has them.
    pub drop: Vec<String>,
}

/// What all running instances took of that.
pub type Taken = Users;

impl Users {
    /// From the users that the resource names, with their passwords where those are known, and the file.
    pub fn new<'a>(declared: impl Iterator<Item = (&'a str, Option<AclUser>)>, filed: &[AclUser]) -> Self {
        let mut users = Self::default();
        let mut names = Vec::new();
        for (name, known) in declared {
            names.push(name);
            users.set.extend(known.or_else(|| of_name(filed, name).cloned()));
        }
        let dropped = filed.iter().filter(|user| !names.contains(&user.name.as_str()));
        users.drop = dropped.map(|user| user.name.clone()).collect();
        users
    }

    /// What each of these took. Empty: none runs.
    pub fn in_all<'a>(mut of: impl Iterator<Item = &'a Self>) -> Taken {
        let mut taken = of.next().cloned().unwrap_or_default();
        for one in of {
            taken.set.retain(|user| one.set.contains(user));
            taken.drop.retain(|name| one.drop.contains(name));
        }
        taken
    }

    /// Without the users that a server refused to set or to delete.
    pub fn without(mut self, refused: &[String]) -> Self {
        self.set.retain(|user| !refused.contains(&user.name));
        self.drop.retain(|name| !refused.contains(name));
        self
    }
}

/// The users of the file for starting instances, from those that it has:
///
/// 1. A declared user is as declared once all running instances took it so, and as it was until then.
/// 2. One that is declared no more stays until all running instances have deleted it: the file is what
///    remembers that.
pub fn plan_file(wanted: &Users, filed: &[AclUser], taken: &Taken) -> Vec<AclUser> {
    let declared = wanted
        .set
        .iter()
        .filter_map(|user| if taken.set.contains(user) { Some(user) } else { of_name(filed, &user.name) });
    let is_kept = |user: &&AclUser| wanted.drop.contains(&user.name) && !taken.drop.contains(&user.name);
    declared.chain(filed.iter().filter(is_kept)).cloned().collect()
}

fn of_name<'a>(users: &'a [AclUser], name: &str) -> Option<&'a AclUser> {
    users.iter().find(|user| user.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> AclUser {
        AclUser::new(name, password, "~* +@read")
    }

    #[test]
    fn a_starting_instance_gets_what_all_running_ones_took_and_what_it_had_until_then() {
        let (old, new) = (|| user("shop", "old"), || user("shop", "new"));
        let users = |set: &[AclUser], drop: &[&str]| Users {
            set: set.to_vec(),
            drop: drop.iter().map(|name| (*name).to_owned()).collect(),
        };
        let rows = [
            ("a new user, not taken yet", users(&[new()], &[]), vec![], users(&[], &[]), vec![]),
            ("taken by all", users(&[new()], &[]), vec![], users(&[new()], &[]), vec![new()]),
            (
                "a new password, not taken yet",
                users(&[new()], &[]),
                vec![old()],
                users(&[old()], &[]),
                vec![old()],
            ),
            ("an operator that starts", users(&[new()], &[]), vec![new()], users(&[], &[]), vec![new()]),
            ("to be deleted", users(&[], &["shop"]), vec![old()], users(&[old()], &[]), vec![old()]),
            ("deleted by all", users(&[], &["shop"]), vec![old()], users(&[], &["shop"]), vec![]),
        ];
        for (fact, wanted, filed, taken, expected) in rows {
            assert_eq!(plan_file(&wanted, &filed, &taken), expected, "{fact}");
        }
    }

    #[test]
    fn a_user_whose_password_cannot_be_read_stays_as_it_was_and_one_that_left_the_list_goes() {
        let filed = [user("shop", "old"), user("gone", "x")];
        let declared = [("shop", None), ("new", None), ("report", Some(user("report", "y")))];
        let users = Users::new(declared.into_iter(), &filed);
        assert_eq!(users.set, [user("shop", "old"), user("report", "y")]);
        assert_eq!(users.drop, ["gone"]);
    }

    #[test]
    fn taken_is_what_every_running_instance_took() {
        let both = Users { set: vec![user("a", "1"), user("b", "1")], drop: vec!["c".into()] };
        let one = both.clone().without(&["b".into(), "c".into()]);
        assert_eq!(Users::in_all([&both, &one].into_iter()), one);
        assert_eq!(Users::in_all([].into_iter()), Users::default());
    }
}
