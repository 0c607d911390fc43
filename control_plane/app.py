"""Wires the control plane: which object has which, from settings to a service that answers."""

import math
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from aiohttp import web

from control_plane.access_keys import AccessKeys
from control_plane.accounts import Accounts
from control_plane.api_keys import UserApiKeys
from control_plane.artwork import Artworks
from control_plane.artwork_keys import ArtworkKeys
from control_plane.attempts import Attempts, network_of
from control_plane.audit import Audit
from control_plane.bell import Bell
from control_plane.catalog import Catalog
from control_plane.clock import Clock, utc_now
from control_plane.cors import Cors
from control_plane.credentials import AccessTokens, Credentials
from control_plane.database import Database
from control_plane.devices import UserDevices
from control_plane.enrolments import Enrolments, Surroundings
from control_plane.home import HomeRows
from control_plane.housekeeping import LEFTOVERS, keep_house
from control_plane.http_accounts import AccountParts, AccountsHttp
from control_plane.http_artwork import ArtworkHttp
from control_plane.http_catalog import CatalogHttp
from control_plane.http_fleet import FleetHttp
from control_plane.http_jobs import JobsHttp
from control_plane.http_playback import PlaybackHttp
from control_plane.http_self import SelfHttp
from control_plane.http_uploads import UploadsHttp
from control_plane.jobs import Jobs
from control_plane.metrics import Metrics
from control_plane.packages import Packages
from control_plane.pages import Pages
from control_plane.passwords import Passwords
from control_plane.plans import UserPlans
from control_plane.playback import Life, Playback, Secrets
from control_plane.profiles import UserProfiles
from control_plane.removal import Removal
from control_plane.routes import table
from control_plane.settings import ControlPlaneSettings
from control_plane.standby import Standby
from control_plane.steering_client import SteeringClient
from control_plane.streams import Streams
from control_plane.sweeper import Sweeper
from control_plane.uploads import Uploads
from control_plane.watching import Watching
from media.keys import Identity
from media.objects import ObjectStore, open_store
from media.secret import read_or_make
from runtime.admission import Admission
from runtime.api import Meter, Route, make_app
from runtime.errors import Problem
from runtime.flow import Buckets
from runtime.folder_lock import CONTROL, take_lock
from runtime.launch import Launch
from runtime.machines import MachineGate
from runtime.service import Service, bind, serve_http, url_of
from runtime.settings import load
from runtime.state import State, open_state

NAME = "control"


@dataclass(frozen=True)
class ControlPlane:
    """A control plane that answers at `url`."""

    url: str
    routes: tuple[Route, ...]
    jobs: Jobs
    uploads: Uploads
    playback: Playback
    removal: Removal
    sweeper: Sweeper
    bell: Bell
    standby: Standby
    streams: Streams
    home: HomeRows
    artworks: Artworks
    accounts: AccountParts
    enrolments: Enrolments
    access_key_age: timedelta

    async def keep_house(self) -> None:
        """Does the chores until it is cancelled."""
        chores = {
            "give_up_jobs": self.jobs.give_up,
            "drop_uploads": self.uploads.drop_stale,
            "sweep_store": self.uploads.sweep,
            "drop_sessions": self.playback.drop_expired,
            "clear_jobs": self.removal.clear_jobs,
            "remove_titles": self.removal.remove_titles,
            "remove_superseded": self.removal.remove_superseded,
            "sweep_orphans": self.sweeper.sweep,
            "drop_devices": self.accounts.devices.drop_expired,
            "drop_audit": self.accounts.audit.drop_old,
            "drop_invitations": self.enrolments.drop_expired,
            "rotate_keys": self.rotate_keys,
        }
        await keep_house(chores, lambda: self.bell.listen(LEFTOVERS))

    async def rotate_keys(self) -> None:
        """The key that signs access tokens is none too old."""
        self.accounts.access_keys.rotate_older_than(self.access_key_age)


@asynccontextmanager
async def serve(
    settings: ControlPlaneSettings, data: Path, *, clock: Clock = utc_now
) -> AsyncIterator[ControlPlane]:
    """A control plane on the address of the settings, its own things in the folder `data`.

    Raises Problem when an address, the database or a setting is not usable.
    """
    private = data / "secrets"
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    identity = Identity.open(NAME, "control", private / f"{NAME}.key")
    secret = read_or_make(private / "sessions.secret", lambda: secrets.token_bytes(32))
    # Without it no encrypted package can be played any more: it belongs into every backup.
    content = read_or_make(private / "content.secret", lambda: secrets.token_bytes(32))
    async with AsyncExitStack() as stack:
        stack.enter_context(take_lock(data, CONTROL, shared=True))
        database = Database(settings.database_url(data))
        stack.push_async_callback(database.close)
        await database.migrate()
        store, state = _open(settings, data)
        stack.push_async_callback(store.close)
        stack.push_async_callback(state.close)
        passwords = Passwords(
            passes=settings.argon2_passes,
            memory_kib=settings.argon2_memory_kib,
            lanes=settings.argon2_lanes,
        )
        stack.callback(passwords.close)
        steering = SteeringClient(settings.steering_url, identity, clock)
        stack.push_async_callback(steering.close)
        standby = Standby(steering, data / "standby.json")
        listener = bind(settings.listen)
        stack.callback(listener.close)
        public_url = (settings.public_url or url_of(listener)).rstrip("/")

        bell = Bell()
        life = Life(settings.session_film_factor, settings.session_extra_s)
        parts = _account_parts(settings, private, database, state, secret, clock)
        attempts = Attempts(state, settings.login_attempts)
        accounts = Accounts(
            database,
            passwords,
            attempts,
            parts.devices,
            parts.tokens,
            clock,
        )
        await accounts.ensure_admin(private / "admin.json")
        artwork_keys = ArtworkKeys(secret, public_url)
        catalog = Catalog(database, clock, artwork_keys)
        jobs = Jobs(
            database,
            store,
            bell,
            clock,
            content,
            lease_s=settings.lease_s,
            max_attempts=settings.max_attempts,
        )
        uploads = Uploads(
            database,
            store,
            jobs,
            clock,
            public_url,
            part_bytes=settings.part_bytes,
            upload_s=settings.upload_s,
        )
        stack.push_async_callback(uploads.close)
        packages = Packages(store)
        watching = Watching(database, clock, artwork_keys)
        home = HomeRows(database, watching, clock, artwork_keys)
        artworks = Artworks(database, store, artwork_keys, clock)
        streams = Streams(state)
        playback = Playback(
            database,
            packages,
            streams,
            watching,
            steering,
            standby,
            identity,
            Secrets(secret, content),
            clock,
            public_url,
            life=life,
            simulate_regions=settings.simulate_regions,
        )
        enrolments = Enrolments(
            database,
            attempts,
            bell,
            clock,
            private / "trust.json",
            Surroundings(
                control_plane_url=public_url,
                steering_url=settings.steering_public_url or settings.steering_url,
                store=store.url,
                credentials=settings.fill_credentials_file,
            ),
        )
        metrics = Metrics()
        routes = table(
            AccountsHttp(accounts, parts, UserPlans(database), playback),
            CatalogHttp(catalog, home, parts.profiles, bell, clock, lambda: bell.ring(LEFTOVERS)),
            ArtworkHttp(artworks, catalog, parts.profiles, clock),
            UploadsHttp(uploads),
            JobsHttp(jobs, bell),
            PlaybackHttp(playback, packages, watching, parts.profiles, metrics, clock),
            FleetHttp(steering, standby, enrolments, parts.audit, bell),
            SelfHttp(database, metrics),
        )
        app = _app(settings, private, routes, parts, metrics)
        runner, url = await serve_http(app, listener)
        stack.push_async_callback(runner.cleanup)
        yield ControlPlane(
            url=url,
            routes=tuple(routes),
            jobs=jobs,
            uploads=uploads,
            playback=playback,
            removal=Removal(database, store, steering, clock, life),
            sweeper=Sweeper(database, store, clock),
            bell=bell,
            standby=standby,
            streams=streams,
            home=home,
            artworks=artworks,
            accounts=parts,
            enrolments=enrolments,
            access_key_age=timedelta(days=settings.access_key_days),
        )


async def main(service: Service, launch: Launch) -> None:
    """The service, until it is asked to stop."""
    settings = load(ControlPlaneSettings, "control_plane", file=launch.config, flags=launch.flags)
    async with serve(settings, launch.data) as control:
        service.spawn("housekeeping", control.keep_house())
        service.spawn("standby", control.standby.follow())
        service.ready(http=control.url)
        await service.stopping.wait()


def _app(
    settings: ControlPlaneSettings,
    private: Path,
    routes: Sequence[Route],
    parts: AccountParts,
    metrics: Metrics,
) -> web.Application:
    """The routes, behind all that stands before them, and the pages."""
    machines = MachineGate(private / "trust.json", NAME)
    credentials = Credentials(parts.tokens, parts.devices, parts.api_keys, machines)
    admission = Admission()
    app = make_app(
        routes,
        credentials.authenticate,
        settings.proxies(),
        parts.audit.record,
        admission.place,
        _meter(settings),
    )
    metrics.watch(app, admission)
    Cors(settings.cors_origins).serve(app)
    Pages(settings.web_folder()).serve(app)
    return app


def _account_parts(
    settings: ControlPlaneSettings,
    private: Path,
    database: Database,
    state: State,
    secret: bytes,
    clock: Clock,
) -> AccountParts:
    access_s = settings.access_token_s
    access_keys = AccessKeys(private / "access-keys.json", clock, life_s=access_s)
    return AccountParts(
        access_keys=access_keys,
        tokens=AccessTokens(access_keys, clock, life_s=access_s),
        devices=UserDevices(
            database,
            state,
            secret,
            clock,
            access_s=access_s,
            refresh_s=settings.refresh_token_s,
        ),
        profiles=UserProfiles(database, clock),
        api_keys=UserApiKeys(database, clock),
        audit=Audit(database, clock, days=settings.audit_days),
    )


def _meter(settings: ControlPlaneSettings) -> Meter:
    buckets = Buckets(settings.caller_rate, settings.caller_burst)

    def meter(caller: str) -> None:
        wait_s = buckets.take(network_of(caller), time.monotonic())
        if wait_s > 0:
            raise Problem("too_many_requests", retry_after_s=math.ceil(wait_s))

    return meter


def _open(settings: ControlPlaneSettings, data: Path) -> tuple[ObjectStore, State]:
    try:
        return open_store(settings.store_url(data)), open_state(settings.state)
    except ValueError as error:
        raise Problem("bad_settings", f"{error}.") from None
