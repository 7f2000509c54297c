"""A registry with its page, whose accounts may each do something else."""

import base64

from registry import PageRegistry

PASSWORD = "a password of some length"


def basic(name, password=PASSWORD):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class People(PageRegistry):
    """root administers; dev may do everything in team/** but delete in team/kept; reader pulls team/app; nobody has
    an account and no right."""

    def __init__(self, name, **env):
        super().__init__(name, DRIFT_AUTH_ENABLED="true", DRIFT_AUTH_BAD_LOGINS_BY_ADDRESS="0", **env)

    def __enter__(self):
        super().__enter__()
        try:
            for user, group in ("root", "admins"), ("dev", "dev"), ("reader", "readers"), ("nobody", "none"):
                self.drift("user", "add", user, "--group", group, "--password-stdin", stdin=PASSWORD)
            self.drift("policy", "add", "--deny", "group:dev", "delete", "team/kept")
            self.drift("policy", "add", "group:dev", "pull,push,delete", "team/**")
            self.drift("policy", "add", "group:readers", "pull", "team/app")
            self.root = {"Authorization": basic("root")}
            for repository in "team/app", "team/kept", "secret/app":
                self.push_image(repository, "v1", repository.encode(), **self.root)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self
