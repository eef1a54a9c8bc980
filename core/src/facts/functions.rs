//! `FUNCTION LIST` (since Redis 7): libraries of functions are persisted and replicated as keys are.

use super::resp::Resp;

/// How many libraries the server has. None: the reply is no list.
pub fn libraries(resp: &str) -> Option<u64> {
    Resp(resp).array()
}

#[cfg(test)]
mod tests {
    use super::libraries;

    #[test]
    fn each_element_is_a_library_and_a_reply_that_was_cut_has_its_length() {
        let one = "*1\r\n*6\r\n$12\r\nlibrary_name\r\n$1\r\na\r\n$6\r\nengine\r\n$3\r\nLUA\r\n$9\r\nfunctions\r\n*0\r\n";
        assert_eq!((libraries("*0\r\n"), libraries(one), libraries(&one[..20])), (Some(0), Some(1), Some(1)));
        assert_eq!((libraries(""), libraries("+OK\r\n")), (None, None));
    }
}
