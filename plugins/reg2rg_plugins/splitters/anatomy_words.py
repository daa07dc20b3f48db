"""Words of a chest-CT report that tell the region a sentence is about, with weights: data alone.

Weights: 1 is a hint, 2 a finding of the organ, 3 the organ where other organs share the word, 4 and more the organ itself (more
where its sentences also carry the words of another, as "right lobe of the liver" does). Where sums are equal, the earlier
region of `PRIORITY` wins. `*` stands for any ending. The regions are used as RadGenome-ChestCT uses them: what is "subpleural"
is the pleura's there, a bronchiectasis the lung's, a lymph node the mediastinum's wherever it lies.
"""

from __future__ import annotations

PRIORITY = (
    "thyroid", "breast", "esophagus", "trachea and bronchie", "heart", "pleura", "bone", "abdomen", "mediastinum", "lung",
)  # fmt: skip

WORDS: dict[str, dict[int, str]] = {
    "abdomen": {
        9: "liver, hepat*, gallbladder*, gall bladder*, spleen*, splen*, kidney*, renal*, pancrea*, adrenal*, "
        "surrenal*, cholelith*, stomach, gastric, colon*, bowel*, intestin*, peritone*, omental*, mesenter*, bile "
        "duct*, biliary, portal, ascites, nephro*, pelvicalic*, ureter*, portocaval, celiac, caudate",
        5: "abdom*, intraabdom*, intra-abdom*, perihepat*, perisplen*, perirenal*, subdiaphragm*, diaphragm*, hemidiaphragm*",
        3: "segment 1, segment 2, segment 3, segment 4, segment 4a, segment 4b, segment 5, segment 6, segment 7, "
        "segment 8, cortical cyst*, space occupying, space-occupying, gastrointestinal, ileus, adenoma*",
    },
    "bone": {
        5: "bone*, bony, vertebra*, rib, ribs, sternal, sternum, scapula*, clavic*, costa*, costovertebral, osteo*, "
        "scolio*, rotoscolio*, kypho*, hyperost*, periost*, dish, pectus, sternotom*, spur, spine, spinal, disc, "
        "spondyl*, hemangioma*, end plate, end plates, endplate, endplates, fractur*, corpus, neural foramina, "
        "humer*, schmorl*, skelet*, medulla*, degenerat*",
        2: "lytic, sclerotic, destructive, thoracic kyphosis",
    },
    "breast": {
        9: "breast, breasts, mamm*, gynecomast*, mastectom*, areola*, nipple, silicone, retropectoral",
    },
    "esophagus": {
        10: "esophag*, oesophag*, hiatal hernia*, hiatus hernia*, sliding type*, gastroesophag*, esophagogastric",
    },
    "heart": {
        5: "heart, cardi*, pericard*, coronar*, atri*, ventric*, mitral, valv*, pacemaker, precardiac, percardi*, "
        "lad, rca, circumflex, cto, ctr, ascending aorta",
    },
    "lung": {
        3: "lung, lungs, parenchym*, lobe, lobes, lobar, segment, segments, lingula*, fissure*, apex, apical",
        2: "nodul*, ground glass, ground-glass, consolid*, atelecta*, emphysem*, pneumon*, infiltrat*, fibro*, "
        "sequela*, opacit*, mosaic, aeration, bulla*, bronchiectas*, bronchectas*, bronchiectat*, peribronch*, "
        "bronchiolit*, ventilat*, air trapping, infectious, infective, interlobular, covid*, bud*, "
        "pleuroparenchym*",
        1: "mass, lesion, lesions, metasta*, densit*",
    },
    "mediastinum": {
        4: "mediastin*, lymph*, lap, laps, paratracheal, prevascular, subcarinal, hilar, hilus, aort*, thymus, "
        "thymic, supraclavicular, axilla*, aortopulmonary, pneumomediast*, brachiocephal*, vena cava, pulmonary "
        "trunk, pulmonary conus, pulmonary arter*, main vascular, vascular structures",
        2: "atherom*, atheroscl*, catheter, port, vascular, arter*",
    },
    "pleura": {
        24: "subpleural*",
        6: "pleura, pleural, pneumothora*, hydrothora*, hemothora*, empyema",
        4: "effusion*, hemithora*, plastering",
    },
    "thyroid": {
        14: "thyroid*, isthmus, goit*",
    },
    "trachea and bronchie": {
        5: "trache*, main bronch*, bronchial system, carina",
        2: "bronchus, bronchi, bronchial, airway, airways, lumen, lumens, occluding, occlusive, obstructive",
    },
}
