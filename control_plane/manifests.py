"""Session manifests: the package's own, with the ranked pathways written in. Pure."""

from collections.abc import Sequence

from control_plane.packages import Manifests
from control_plane.playback import Playing
from media import dash, hls
from media.fleet import Pathway


def multivariant(package: Manifests, playing: Playing, limit: int) -> str:
    """The HLS multivariant playlist. With one pathway it names no pathways and no steering, for
    players that know neither."""
    bases = _bases(playing.ranking.pathways[:limit], playing.base_path)
    steering_url = playing.ranking.steering_url if len(bases) > 1 else None
    allowed = playing.renditions
    renditions = [
        rendition
        for rendition in package.inventory.renditions
        if allowed is None or rendition.rendition_id in allowed
    ]
    return hls.multivariant(renditions, bases, steering_url=steering_url)


def mpd(package: Manifests, playing: Playing, limit: int) -> str:
    """The DASH MPD, on the same terms, with the address of licences where it is encrypted."""
    bases = _bases(playing.ranking.pathways[:limit], playing.base_path)
    steering_url = playing.ranking.steering_url if len(bases) > 1 else None
    return dash.session_mpd(
        package.mpd,
        bases,
        steering_url=steering_url,
        license_url=playing.license_url,
        allowed=playing.renditions,
    )


def _bases(pathways: Sequence[Pathway], base_path: str) -> list[hls.PathwayBase]:
    named = len(pathways) > 1
    return [
        hls.PathwayBase(pathway.appliance_id if named else None, pathway.base_of(base_path))
        for pathway in pathways
    ]
