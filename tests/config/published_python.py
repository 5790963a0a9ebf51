"""The Python configurations that S3IM ships for DVGO, written afresh from the settings that each makes."""

from __future__ import annotations

from pathlib import Path

STAGE_TRAIN = """    N_iters={N_iters}, N_rand=8192, lrate_density=1e-1, lrate_k0=1e-1, lrate_rgbnet=1e-3,
    lrate_decay=20, pervoxel_lr=True, pervoxel_lr_downrate=1, ray_sampler='random', weight_main=1.0, 
    weight_entropy_last=0.01, weight_nearclip=0, weight_distortion=0, weight_rgbper=0.1,  # of single points
    tv_every=1, tv_after=0, tv_before=0, tv_dense_before=0, weight_tv_density=0.0, weight_tv_k0=0.0,
    pg_scale=[], decay_after_scale=1.0, skip_zero_grad_fields=[], maskout_lt_nviews=0,
"""
DEFAULT = f"""
from copy import deepcopy

expname = None                    # experiment
basedir = './logs/'

'''Data'''
data = dict(
    datadir=None, dataset_type=None, inverse_y=False, flip_x=False, flip_y=False, annot_path='', split_path='',
    sequence_name='', load2gpu_on_the_fly=False, testskip=1, white_bkgd=False, rand_bkgd=False, half_res=False,
    bd_factor=.75, movie_render_kwargs=dict(), ndc=False, spherify=False, factor=4, width=None, height=None,
    llffhold=8, load_depths=False, unbounded_inward=False, unbounded_inner_r=1.0,
)

'''Training'''
coarse_train = dict(
{STAGE_TRAIN.format(N_iters=5000)})

fine_train = deepcopy(coarse_train)
fine_train.update(dict(
    N_iters=20000, pervoxel_lr=False, ray_sampler='in_maskcache', weight_entropy_last=0.001, weight_rgbper=0.01,
    pg_scale=[1000, 2000, 3000, 4000], skip_zero_grad_fields=['density', 'k0'],
))

coarse_model_and_render = dict(
    num_voxels=1024000, num_voxels_base=1024000, density_type='DenseGrid', k0_type='DenseGrid', density_config=dict(),
    k0_config=dict(), mpi_depth=128, nearest=False, pre_act_density=False, in_act_density=False, bbox_thres=1e-3,
    mask_cache_thres=1e-3, rgbnet_dim=0, rgbnet_full_implicit=False, rgbnet_direct=True, rgbnet_depth=3,
    rgbnet_width=128, alpha_init=1e-6, fast_color_thres=1e-7, maskout_near_cam_vox=True, world_bound_scale=1,
    stepsize=0.5,
)

fine_model_and_render = deepcopy(coarse_model_and_render)
fine_model_and_render.update(dict(
    num_voxels=160**3, num_voxels_base=160**3, rgbnet_dim=12, alpha_init=1e-2, fast_color_thres=1e-4,
    maskout_near_cam_vox=False, world_bound_scale=1.05,
))

del deepcopy
"""
UNBOUNDED_MODEL = """
alpha_init = 1e-4
stepsize = 0.5

fine_model_and_render = dict(
    num_voxels=320**3,
    num_voxels_base=320**3,
    alpha_init=alpha_init,
    stepsize=stepsize,
    fast_color_thres={
        '_delete_': True,
        0   : alpha_init*stepsize/10,
        1500: min(alpha_init, 1e-4)*stepsize/5,
        2500: min(alpha_init, 1e-4)*stepsize/2,
        3500: min(alpha_init, 1e-4)*stepsize/1.5,
        4500: min(alpha_init, 1e-4)*stepsize,
        5500: min(alpha_init, 1e-4),
        6500: 1e-4,
    },
    world_bound_scale=1,
"""
UNBOUNDED = f"""_base_ = '../default.py'

basedir = './logs/tanks_and_temple_unbounded'

data = dict(
    dataset_type='nerfpp', inverse_y=True, white_bkgd=True, rand_bkgd=True, unbounded_inward=True,
    load2gpu_on_the_fly=True,
)

coarse_train = dict(N_iters=0)

fine_train = dict(
    N_iters=30000, N_rand=4096, ray_sampler='flatten', weight_distortion=0.01,
    pg_scale=[1000,2000,3000,4000,5000,6000,7000], tv_before=1e9, tv_dense_before=10000, weight_tv_density=1e-6,
    weight_tv_k0=1e-7,
)
{UNBOUNDED_MODEL}    contracted_norm='l2',
)
"""
REPLICA = """_base_ = './tt_default.py'

expname = 'dvgo_replica_scan1_s3im_{weight}'
basedir = './logs/replica_exp/dvgo'

data = dict(inverse_y=False, dataset_type='replica', datadir='./data/Replica/scan1')

fine_train = dict(
    s3im_weight={weight}, s3im_kernel=4, s3im_stride=4, s3im_repeat_time=10, s3im_patch_height=64,
    s3im_patch_width=64,
)
"""
FORWARD_FACING = """_base_ = '../default.py'

basedir = './logs/custom'

data = dict(
    dataset_type='llff', load2gpu_on_the_fly=True, ndc=True, llffhold=0, rand_bkgd=True,
    movie_render_kwargs={'scale_r': 1.0, 'scale_f': 1.0, 'zdelta': 0.5, 'zrate': 1.0, 'N_rots': 1},
)

coarse_train = dict(N_iters=0)

fine_train = dict(
    N_iters=30000, N_rand=4096, weight_distortion=0.01, pg_scale=[2000,4000,6000,8000], decay_after_scale=0.1,
    ray_sampler='flatten', tv_before=1e9, tv_dense_before=10000, weight_tv_density=1e-5, weight_tv_k0=1e-6,
)

_mpi_depth = 256
_stepsize = 1.0

fine_model_and_render = dict(
    num_voxels=384*384*_mpi_depth, mpi_depth=_mpi_depth, stepsize=_stepsize, rgbnet_dim=9, rgbnet_width=64,
    world_bound_scale=1, fast_color_thres=_stepsize/_mpi_depth/5,
)
"""
INWARD_FACING = f"""_base_ = '../default.py'

basedir = './logs/custom'

data = dict(
    dataset_type='llff', spherify=True, llffhold=0, bd_factor=None, white_bkgd=True, rand_bkgd=True,
    unbounded_inward=True, load2gpu_on_the_fly=True,
)

coarse_train = dict(N_iters=0)

fine_train = dict(
    N_iters=40000, N_rand=4096, lrate_decay=80, ray_sampler='flatten', weight_nearclip=0.0, weight_distortion=0.01,
    pg_scale=[2000,4000,6000,8000,10000,12000,14000,16000], tv_before=20000, tv_dense_before=20000,
    weight_tv_density=1e-6, weight_tv_k0=1e-7,
)
{UNBOUNDED_MODEL})
"""
CUSTOM = """_base_ = './default_forward_facing.py'

expname = '{name}'

data = dict(datadir='./data/custom/{name}/dense', factor=2, movie_render_kwargs={kwargs})
"""
FILES = {
    "default.py": DEFAULT,
    "replica_exp/tt_default.py": UNBOUNDED,
    "replica_exp/replica_scan1_s3im_0.0.py": REPLICA.format(weight="0.0"),
    "replica_exp/replica_scan1_s3im_1.0.py": REPLICA.format(weight="1.0"),
    "custom/default_forward_facing.py": FORWARD_FACING,
    "custom/default_ubd_inward_facing.py": INWARD_FACING,
    "custom/Madoka.py": CUSTOM.format(name="Madoka", kwargs="dict(scale_r=1.0, scale_f=0.8, zrate=2.0, zdelta=0.5)"),
    "custom/Otobai.py": CUSTOM.format(name="Otobai", kwargs="dict(scale_r=0.8, scale_f=10., zrate=6.0, zdelta=0.5)"),
}


def write_files(folder: Path) -> Path:
    """The eight files as they lie in `configs/`; returns that folder."""
    for name, text in FILES.items():
        path = folder / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "configs"
