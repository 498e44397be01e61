"""What stands between the network and the page.

`door` puts it together. A request has to be for this lab and from its own page (`hosts`), from somebody who has logged
in (`logins`), and of bounded size (`bodies`) and time (`connections`). Behind that the calls of all `pages` line up in
one `queue`, in which turns go round by visitor. `visitors` and `asking` say who asks, `files` keeps what was uploaded
or prepared for them, `delivery` compresses what the page is made of, and `refusals` and `headers` are about how all of
it is answered.
"""
